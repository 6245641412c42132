// @ts-check
// A chart with its sentence over it, and the same data as a table and a file
// beside it.

import { make, el, put, say, mark, failure } from "./dom.js";
import { Chart } from "./chart.js";
import { watts, energy } from "./format.js";

/** How often curves are loaded anew, and drawn anew up to now, in milliseconds. */
export const refresh = 60e3, redraw = 3000;

/** A figure of power over time. */
export class Figure {
	/** Makes a figure without a picture.
	 * @param {import("./zone.js").Zone} zone
	 * @param {string} file how the name of the file with its numbers begins */
	constructor(zone, place, title, file) {
		const parts = make("figure");
		this.zone = zone;
		this.file = file;
		this.parts = parts;
		/** @type {import("./chart.js").Picture | null} */
		this.picture = null;
		say(parts.title, title);
		parts.toggle.onclick = () => this.flip();
		parts.csv.onclick = () => this.save();
		put(place, parts.root);
		this.chart = new Chart(parts.plot, zone, (at) =>
			say(parts.readout, at ? `${this.when(at.t)}  ${watts(at.w)}` : ""));
	}

	/** Lets go of the chart. */
	destroy() {
		this.chart.destroy();
	}

	/** Shows a picture and its sentence.
	 * @param {import("./chart.js").Picture} picture */
	show(picture, sentence) {
		this.picture = picture;
		put(this.parts.fault);
		this.parts.plot.classList.remove("stale");
		say(this.parts.sentence, sentence);
		this.chart.show(picture);
		if (!this.parts.table.hidden) this.fill();
	}

	/** Says that the data did not come. A picture that is there stays. */
	fail(error, retry) {
		say(this.parts.sentence, this.picture ? "This is not up to date." : "The readings did not come.");
		failure(this.parts.fault, error, retry);
	}

	/** Changes between picture and table. */
	flip() {
		const { table, plot, readout, toggle } = this.parts;
		table.hidden = !table.hidden;
		plot.hidden = readout.hidden = !table.hidden;
		mark(toggle, "aria-pressed", String(!table.hidden));
		if (!table.hidden) this.fill();
	}

	/** Writes the table. */
	fill() {
		const points = this.picture?.series.points || [], spread = points.some((p) => p.min !== p.max);
		const head = ["Time", "Mean", ...(spread ? ["Lowest", "Highest"] : []), "Energy"];
		const rows = points.map((p) => el("tr", el("th", this.when(p.t)),
			...[p.w, ...(spread ? [p.min, p.max] : [])].map((w) => el("td", watts(w))), el("td", energy(p.kwh))));
		put(this.parts.table, el("table", el("thead", el("tr", ...head.map((h) => el("th", h)))), el("tbody", ...rows)));
	}

	/** Says when a point is.
	 * @param {number} t seconds */
	when(t) {
		const ms = t * 1000, { zone } = this, range = this.picture?.range;
		if (range === "hour" || range === "day") return zone.time(ms);
		const day = `${zone.weekday(ms)} ${zone.date(ms)}`;
		return range === "year" ? day : `${day}, ${zone.time(ms)}`;
	}

	/** Hands the numbers out as a file. */
	save() {
		const { points = [], from = 0 } = this.picture?.series || {}, link = el("a");
		const lines = points.map((p) => [new Date(p.t * 1000).toISOString(), p.w, p.min, p.max, p.kwh].join());
		const text = ["time,mean_w,min_w,max_w,energy_kwh", ...lines, ""].join("\n");
		link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
		link.download = `${this.file.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}-${this.zone.iso(from * 1000)}.csv`;
		link.click();
		setTimeout(() => URL.revokeObjectURL(link.href), 10e3);
	}
}
