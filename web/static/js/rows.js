// @ts-check
// The list of devices with their watts and switches.

import { make, tell, mark, flag, draw } from "./dom.js";
import { Switch, doing, reached, unknown } from "./switch.js";
import { drawn } from "./flows.js";
import { watts } from "./format.js";
import { pictureOf } from "./icons.js";

/** @typedef {import("./house.js").Device} Device */
/** @typedef {import("./house.js").House} House */

/** How long rows keep their places, in milliseconds. */
const rest = 8000;

/** Orders devices by name. */
const byName = (a, b) => a.alias.localeCompare(b.alias, "en") || a.id - b.id;

/** Measures devices for ordering; those that do not tell come last. */
const size = (d) => (drawn(d) === null ? -1 : Math.abs(drawn(d)));

/** All devices: the largest first, each with a bar and a switch; or, with tools,
 * by name and with these in their place. */
export class Rows {
	/** Makes an empty list.
	 * @param {House} house
	 * @param {(device: Device) => Element | null} [tools] */
	constructor(house, root, tools) {
		this.house = house;
		this.root = root;
		this.tools = tools;
		/** @type {Map<number, Record<string, any>>} */
		this.rows = new Map();
		this.sorted = 0;
	}

	/** Makes a row. */
	row(device) {
		const row = make("row"), { id, role } = device;
		row.root.dataset.device = id;
		row.root.dataset.role = role;
		row.name.href = `/ui/devices/${id}`;
		row.bar.hidden = Boolean(this.tools);
		row.way.hidden = !this.tools;
		if (this.tools) row.control.append(this.tools(device) || "");
		else row.switch = new Switch(this.house, id, row.control);
		this.rows.set(id, row);
		return row;
	}

	/** Shows a device as it is now.
	 * @param {number} largest what a full bar stands for, in watts */
	show(device, largest) {
		const row = this.rows.get(device.id) || this.row(device);
		const w = drawn(device), words = [device.room, doing(device, this.house)].filter(Boolean).join(", ");
		draw(row.icon, pictureOf(device));
		tell(row, { alias: device.alias, does: words, way: reached(device), watts: watts(w) });
		row.name.title = device.alias;
		mark(row.watts, "title", unknown(device, this.house));
		row.fill.style.width = `${largest > 0 ? Math.abs(w) / largest * 100 : 0}%`;
		mark(row.root, "data-online", String(device.online));
		flag(row.root, "data-failed", this.house.wish(device.id)?.failed);
		row.switch?.update(device);
	}

	/** Shows all devices as they are now. Rows change places only after a while,
	 * and not while someone is about to press one. */
	update() {
		const devices = [...this.house.devices.values()], before = this.rows.size;
		const largest = Math.max(...devices.map(size));
		for (const [id, { root }] of this.rows) {
			if (this.house.devices.has(id)) continue;
			root.remove();
			this.rows.delete(id);
		}
		for (const device of devices) this.show(device, largest);
		const settled = Date.now() - this.sorted < rest || this.root.matches(":hover, :focus-within");
		if (settled && this.rows.size === before) return;
		this.sorted = Date.now();
		devices.sort((a, b) => (this.tools ? 0 : size(b) - size(a)) || byName(a, b));
		const nodes = devices.map((d) => this.rows.get(d.id)?.root);
		if (nodes.some((node, i) => this.root.children[i] !== node)) this.root.append(...nodes);
	}
}

/** Says how many devices there are, and how many can be reached. */
export function reach({ devices }) {
	const online = [...devices.values()].filter((d) => d.online).length, n = devices.size;
	return n === 0 ? "" : online < n ? `${online} of ${n} reachable` : n === 1 ? "1 device" : `${n} devices`;
}
