// @ts-check
// The switch of a device: off, on, on its way, failed; and its state in words.

import { make, mark, flag } from "./dom.js";
import { ask } from "./dialog.js";
import { drawn } from "./flows.js";
import { watts } from "./format.js";

/** @typedef {import("./house.js").Device} Device */
/** @typedef {import("./house.js").House} House */

/** A button with role switch that follows its device. */
export class Switch {
	/** Makes a switch.
	 * @param {House} house
	 * @param {number} id of the device
	 * @param {Element} place where it stands */
	constructor(house, id, place) {
		this.house = house;
		this.id = id;
		this.root = make("switch").root;
		this.root.onclick = () => this.press();
		place.append(this.root);
	}

	/** Shows what is so now. */
	update(device) {
		const { root } = this, wish = this.house.wish(this.id), pending = wish?.failed === "";
		const on = pending ? wish.want : device.on === true, may = this.house.mayControl;
		root.hidden = !device.switchable;
		mark(root, "aria-checked", String(on));
		mark(root, "aria-label", device.alias);
		flag(root, "aria-busy", pending);
		flag(root, "aria-disabled", !may);
		mark(root, "data-state", pending ? "pending" : wish ? "failed" : device.on === null ? "unknown" : on ? "on" : "off");
		mark(root, "title", !may ? "Your account may look, but not switch." : wish ? wished(wish)
			: device.on === null ? "It has not said whether it is on." : null);
	}

	/** Takes a press; asks first before what is always on goes off. */
	async press() {
		const device = this.house.devices.get(this.id), wish = this.house.wish(this.id);
		if (!device || !this.house.mayControl || wish?.failed === "") return;
		const want = wish ? wish.want : device.on !== true;
		const sure = want || !device.always_on || await ask({ title: "Turn it off?", action: "Turn off",
			alias: device.alias, text: "is marked as always on. It stays off until someone turns it on." });
		if (sure) this.house.switchTo(device, want);
	}
}

/** Says how a wish stands. */
export function wished({ want, failed }) {
	const way = want ? "on" : "off";
	return failed ? `did not switch ${way}: ${failed}` : `switching ${way}…`;
}

/** Says what a device does now, in a few words. */
export function doing(device, house) {
	const { role, on, power_state: state, power_w: w, last_seen: seen } = device;
	const wish = house.wish(device.id);
	if (wish) return wished(wish);
	if (!seen) return "waiting for its first message";
	if (!device.online) return `not reachable since ${house.zone.moment(seen)}`;
	if (role === "grid") return w < 0 ? "feeding into the grid" : "drawing from the grid";
	if (role !== "consumer" && Math.abs(w) < 1) return "resting";
	if (role === "solar") return "producing";
	if (role === "battery") return w < 0 ? "discharging" : "charging";
	if (on === false) return "off";
	if (state && state !== "D0") return `asleep, ${state}`;
	const words = w === null ? "on" : w < 0.5 ? "on, draws nothing" : w < 5 ? "standby" : "running";
	return device.always_on ? `${words}, always on` : words;
}

/** Says how a device is reached.
 * @param {Device} device */
export function reached({ dialect, topic, relay }) {
	return dialect ? `${dialect} · ${topic}` : relay ? "relay" : "";
}

/** Says why a device's watts are not known, null if they are. */
export function unknown(device, house) {
	if (drawn(device) !== null) return null;
	if (!device.last_seen) return "It has not reported yet.";
	if (device.online) return "It does not measure its power.";
	const last = device.power_w === null ? "" : ` Last: ${watts(device.power_w)}.`;
	return `Not reachable since ${house.zone.moment(device.last_seen)}.${last}`;
}
