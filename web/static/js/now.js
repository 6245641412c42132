// @ts-check
// The first view: the house now.

import { make, el, put, tell, named } from "./dom.js";
import { attempt } from "./api.js";
import { split } from "./flows.js";
import { bigWatts, watts, energy, percent, count } from "./format.js";
import { facts, bounds } from "./facts.js";
import { Figure, refresh, redraw } from "./figure.js";
import { loadHouse, total } from "./series.js";
import { Rows, reach } from "./rows.js";
import { Needs } from "./needs.js";

/** How many devices have a part of the bar to themselves. */
const alone = 4;

/** The view Now. */
export class NowView {
	/** Makes the view.
	 * @param {import("./house.js").House} house */
	constructor(house) {
		this.house = house;
		this.title = "";
		this.ending = new AbortController();
		this.parts = make("now");
		this.root = this.parts.root;
		this.needs = new Needs(house, this.parts.needs, this.ending.signal);
		this.rows = new Rows(house, this.parts.rows);
		this.figure = new Figure(house.zone, this.parts.figure, "Today", "house");
		this.today = null;
		this.loaded = this.drawn = 0;
		this.shown = "";
	}

	/** Ends the view. */
	stop() {
		this.ending.abort();
		this.figure.destroy();
	}

	/** Loads the curve and the amounts. */
	async load() {
		const { house: { zone, devices }, ending: { signal }, parts } = this;
		const { today, tomorrow, yesterday, first, sameTime } = bounds(zone);
		this.loaded = Date.now();
		const [curve, days, before] = await Promise.all([
			loadHouse(devices, today, tomorrow, "5m", signal),
			loadHouse(devices, first, tomorrow, "1d", signal),
			loadHouse(devices, yesterday, sameTime, "all", signal),
		]);
		const byNow = total(before.points);
		this.today = curve;
		tell(parts, { ...facts(days.points, zone), byNow: energy(byNow),
			compared: compared(total(days.points, today), byNow) });
		this.draw();
	}

	/** Draws the curve up to what is drawn now. */
	draw() {
		if (!this.today) return;
		this.drawn = Date.now();
		const now = this.drawn / 1000, { total: w, silent } = split(this.house.devices, alone);
		const live = w !== null && !silent && this.house.condition === "live" && now < this.today.to;
		const { points } = this.today, powers = points.map((p) => p.w), most = Math.max(...powers);
		const when = points.length > 0 && this.house.zone.time(points[powers.indexOf(most)].t * 1000);
		this.figure.show({ series: this.today, range: "day", now, tip: live ? { t: now, w } : null }, when
			? `Most at ${when}, ${watts(most)}; never below ${watts(Math.min(...powers))}.` : "No readings today yet.");
	}

	/** Shows what is so now. */
	update() {
		const { house, parts } = this, now = split(house.devices, alone), [number, unit] = bigWatts(now.total);
		tell(parts, { number, unit, reach: reach(house) + (now.metered && now.total && !now.silent
			? `; they explain ${percent(1 - now.unknown / now.total)}, ${watts(now.unknown)} are unknown` : "") });
		this.bar(now);
		this.rows.update();
		this.needs.update();
		parts.none.hidden = house.devices.size > 0;
		const due = house.condition === "live" && Date.now() - this.loaded > refresh && !document.hidden;
		if (due || this.loaded === 0) attempt(() => this.load(), (error, retry) => this.figure.fail(error, retry));
		else if (Date.now() - this.drawn > redraw) this.draw();
	}

	/** Says and draws where it goes. */
	bar(now) {
		/** @type {[string, Node | string, number][]} */
		const parts = now.parts.map((p, i) => [`part-${i + 1}`, named(p.device.alias), p.watts]);
		if (now.others > 0) parts.push(["others", count(now.others, "other"), now.othersWatts]);
		if (now.unknown >= 0.5) parts.push(["unknown", "unknown", now.unknown]);
		const legend = parts.map(([kind, name, w]) =>
			el("li", el(`span.dot.${kind}`), el("span.who", name), " ", el("b", watts(w))));
		const sentence = el("p", ...this.words(now));
		const shown = [sentence, ...legend].map((n) => n.textContent).join("|");
		if (shown === this.shown) return;
		this.shown = shown;
		put(this.parts.sentence, ...sentence.childNodes);
		put(this.parts.legend, ...legend);
		put(this.parts.stack, ...parts.map(([kind, , w]) => {
			const segment = el(`span.${kind}`);
			segment.style.flexGrow = w;
			return segment;
		}));
	}

	/** Makes the sentence under the number. */
	words({ total: w, parts: [first], silent }) {
		if (this.house.devices.size === 0) return ["No device measures anything yet."];
		if (w === null) return ["No device reports its power at the moment."];
		if (!first) return [w < 1 ? "Nothing draws power right now." : "No device says what it goes to."];
		return [named(first.device.alias), first.watts > w / 2 ? " takes most of it, " : " takes the largest part, ",
			`${watts(first.watts)}.`, silent && " The meter is silent; this is the sum of the devices."];
	}
}

/** Compares today with yesterday at the same time. */
function compared(today, yesterday) {
	if (yesterday === null) return "nothing measured";
	const more = today / yesterday - 1, size = Math.abs(more);
	if (today === null || yesterday < 0.05) return "";
	return size < 0.01 ? "the same today" : `${percent(size)} ${more > 0 ? "more" : "less"} today`;
}
