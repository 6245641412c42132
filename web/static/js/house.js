// @ts-check
// What the page knows of the household: its devices, what they do now, and
// which commands are on their way. Views read it and are told of changes.

import { get, api, attempt } from "./api.js";
import { Live } from "./live.js";
import { Zone } from "./zone.js";

/** @typedef {{id: number, alias: string, dialect: string, topic: string, role: string,
 * parent_id: number | null, room: string, icon: string, always_on: boolean, online: boolean,
 * on: boolean | null, power_state: string | null, power_w: number | null, last_seen: string | null,
 * switchable: boolean, relay?: object, rejected: {count: number, last_reason?: string}}} Device */
/** @typedef {{want: boolean, id: string, failed: string, at: number}} Wish failed says why; "" while it is on its way */

/** The household. It tells of a "change", of an "event" and of what "switched" or
 * did not. */
export class House extends EventTarget {
	/** Makes an empty household; load fills it. */
	constructor() {
		super();
		/** @type {Map<number, Device>} */
		this.devices = new Map();
		/** @type {Map<number, Wish>} what is wanted of devices, by their ids */
		this.wishes = new Map();
		/** @type {Set<string>} commands that have ended */
		this.ended = new Set();
		/** @type {Map<number, number>} when the newest readings were taken, by device */
		this.readings = new Map();
		this.info = { name: "", version: "", demo: false };
		this.mayControl = this.mayChange = false;
		this.zone = new Zone();
		this.condition = "connecting";
		this.heard = Date.now();
		this.live = new Live((type, data) => this.take(type, data), (condition) => this.turn(condition));
	}

	/** Loads who is here, the household and its devices, and goes live. */
	async load() {
		const { role } = await get("/session");
		this.mayControl = role !== "viewer";
		this.mayChange = role === "owner";
		[this.info] = await Promise.all([get("/household"), this.loadDevices()]);
		this.zone = new Zone(/** @type {any} */ (this.info).timezone);
		this.live.open();
	}

	/** Loads the devices anew. */
	async loadDevices() {
		/** @type {Device[]} */
		const list = await get("/devices");
		this.devices = new Map(list.map((d) => [d.id, d]));
		this.changed();
	}

	/** Loads the devices anew soon, once for many hints that they are others. */
	refresh() {
		clearTimeout(this.hint);
		this.hint = setTimeout(() => attempt(() => this.loadDevices()), 100);
	}

	/** Forgets everything, as after signing out. */
	close() {
		this.live.stop();
		for (const all of [this.devices, this.wishes, this.readings]) all.clear();
	}

	/** Tells views that something changed. */
	changed() {
		this.dispatchEvent(new Event("change"));
	}

	/** Notes how the stream is. Devices may have come and gone while nobody told. */
	turn(condition) {
		if (condition === "live" && this.condition === "lost") this.refresh();
		this.condition = condition;
		this.changed();
	}

	/** Takes one event of the stream. */
	take(type, data) {
		const device = this.devices.get(data.device_id);
		this.heard = Date.now();
		if (type === "event") {
			if (data.kind.startsWith("device_")) this.refresh();
			this.dispatchEvent(new CustomEvent("event", { detail: data }));
		} else if (!device) this.refresh();
		else if (type === "command") this.takeCommand(device, data);
		else if (type === "reading") this.takeReading(device, data);
		else this.takeState(device, data);
		this.changed();
	}

	/** Takes a reading; one that is older than what is shown changes nothing. */
	takeReading(device, { time, power_w }) {
		const at = Date.parse(time);
		if (power_w === null || at < (this.readings.get(device.id) || 0)) return;
		this.readings.set(device.id, at);
		device.power_w = power_w;
		if (!device.last_seen || Date.parse(device.last_seen) < at) device.last_seen = time;
	}

	/** Takes what a device says of itself. */
	takeState(device, { device_id, ...state }) {
		Object.assign(device, state);
		const wish = this.wishes.get(device_id);
		if (wish?.failed && device.on === wish.want) this.wishes.delete(device_id);
	}

	/** Takes how a command stands, whoever gave it. */
	takeCommand(device, { id, status, action, reason }) {
		const want = action === "on", wish = this.wishes.get(device.id);
		if (this.ended.has(id) || (!want && action !== "off")) return;
		if (status === "queued" || status === "sent") {
			// Ours without an id is most likely the same.
			if (wish && !wish.failed && (wish.id === "" || wish.id === id)) return;
			this.wishes.set(device.id, { want, id, failed: "", at: Date.now() });
			return;
		}
		this.ended.add(id);
		if (wish?.id && wish.id !== id) return;
		if (status === "failed" || status === "expired") reason ||= "the device did not confirm it";
		else reason = "";
		if (status === "confirmed") device.on = want;
		this.finish(device, want, id, reason);
	}

	/** Returns what is wanted of a device. What nobody told the end of is forgotten.
	 * @returns {Wish | undefined} */
	wish(id) {
		const wish = this.wishes.get(id);
		if (wish?.failed !== "" || Date.now() - wish.at < 70e3) return wish;
		this.wishes.delete(id);
		return undefined;
	}

	/** Ends a wish.
	 * @param {string} id of the command
	 * @param {string} reason why it failed, "" if it did not */
	finish(device, want, id, reason) {
		const wish = { want, id, failed: reason.replace(/\.$/, ""), at: Date.now() };
		if (reason) this.wishes.set(device.id, wish);
		else this.wishes.delete(device.id);
		this.dispatchEvent(new CustomEvent("switched", { detail: { device, wish } }));
		this.changed();
	}

	/** Asks for a device to be switched. The stream tells what becomes of it, within
	 * 30 s; without it, or later, we ask. */
	async switchTo(device, want) {
		const { id } = device, wish = { want, id: "", failed: "", at: Date.now() };
		const waits = () => this.wishes.get(id) === wish && !this.ended.has(wish.id);
		this.wishes.set(id, wish);
		this.changed();
		await attempt(async () => {
			wish.id = (await api("POST", `/devices/${id}/commands`, { action: want ? "on" : "off" })).id;
			for (let n = 0; waits(); n++) {
				await new Promise((resolve) => setTimeout(resolve, 2000));
				if (!waits() || (n < 16 && this.condition === "live")) continue;
				if (n > 30) throw new Error("it is not known what became of it");
				this.takeCommand(device, await get(`/commands/${encodeURIComponent(wish.id)}`));
			}
		}, (error) => this.finish(device, want, wish.id, error.message));
	}
}
