// @ts-check
// What needs a person now: at most three cards, the worst first.

import { make, el, put, tell } from "./dom.js";
import { get, attempt } from "./api.js";
import { count } from "./format.js";

const most = 3, fineKey = "wattle.fine";

/** The cards. */
export class Needs {
	/** Makes the cards.
	 * @param {import("./house.js").House} house
	 * @param {AbortSignal} signal ends them */
	constructor(house, root, signal) {
		this.house = house;
		this.root = root;
		/** Events of commands that failed within a day. */
		this.failed = [];
		this.shown = "";
		this.fine = kept();
		house.addEventListener("event", (/** @type {any} */ e) => this.take(e.detail), { signal });
		attempt(async () => {
			const from = new Date(Date.now() - 86400e3).toISOString();
			this.failed = (await get(`/events?kind=command_failed&per_page=20&from=${from}`, signal)).items;
			this.update();
		});
	}

	/** Takes a new event. What switches settles an earlier failure. */
	take(event) {
		if (event.kind === "switched") this.failed = this.failed.filter((f) => f.device_id !== event.device_id);
		if (event.kind === "command_failed") this.failed = [event, ...this.failed];
		this.update();
	}

	/** Shows what needs a person now. */
	update() {
		const needs = this.collect().filter((n) => !this.fine.includes(n.key)), more = needs.length - most;
		const shown = JSON.stringify(["", ...needs.map((n) => [n.key, n.why, n.device.alias])]);
		if (shown === this.shown) return;
		this.shown = shown;
		put(this.root, ...needs.slice(0, most).map((n) => this.card(n)),
			more > 0 && el("p.quiet", `and ${more} more`), needs.length === 0 && el("p.calm", "Nothing needs you."));
	}

	/** Makes a card: key is what a person says is fine, again offers to switch again. */
	card({ key, kind, device, title, why, again = false }) {
		const card = make("need");
		card.root.classList.add(kind);
		tell(card, { alias: device.alias, title, why });
		card.see.href = `/ui/devices/${device.id}`;
		card.see.hidden = again;
		card.again.hidden = !again;
		card.again.onclick = () => this.house.switchTo(device, this.house.wish(device.id)?.want ?? false);
		card.fine.onclick = () => {
			this.fine = kept(key);
			this.update();
		};
		return card.root;
	}

	/** Finds what needs a person, the worst first. */
	collect() {
		const [wishes, failed, lost, odd] = [[], [], [], []];
		const { zone, devices } = this.house;
		for (const device of devices.values()) {
			const { id, last_seen: seen, rejected: { count: n, last_reason: reason } } = device;
			const wish = this.house.wish(id), event = this.failed.find((f) => f.device_id === id);
			if (wish?.failed) {
				wishes.push({ key: `wish${id}:${wish.at}`, kind: "bad", device, again: this.house.mayControl,
					title: `did not switch ${wish.want ? "on" : "off"}`, why: `Why: ${wish.failed}.` });
			} else if (event) {
				failed.push({ key: `event${event.id}`, kind: "bad", device, title: "did not obey",
					why: `${event.text.replace(/\.$/, "")}, ${zone.moment(event.time)}.` });
			}
			if (!device.online && seen) {
				lost.push({ key: `lost${id}:${seen}`, kind: device.always_on ? "bad" : "warn", device, title: "is not reachable",
					why: `Last heard ${zone.moment(seen)}. It may have no power or no Wi-Fi.` });
			}
			if (n > 0) {
				odd.push({ key: `odd${id}:${n}`, kind: "info", device, title: "sends what cannot be used",
					why: `${count(n, "message")} not stored. The last: ${reason || "no reason given"}.` });
			}
		}
		lost.sort((a, b) => Number(b.kind === "bad") - Number(a.kind === "bad"));
		return [...wishes, ...failed, ...lost, ...odd];
	}
}

/** Reads what people said is fine, the newest hundred, after adding to it.
 * Browsers may refuse to keep it: then it is fine until the page is left.
 * @returns {string[]} */
function kept(key) {
	try {
		const list = JSON.parse(localStorage.getItem(fineKey) || "[]").concat(key || []).slice(-100);
		localStorage.setItem(fineKey, JSON.stringify(list));
		return list;
	} catch {
		return key ? [key] : [];
	}
}
