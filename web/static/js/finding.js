// @ts-check
// The sentence over a chart: what a person would say who looked at it. Pure.

import { watts, energy, percent, listed } from "./format.js";
import { gaps, rhythm, total } from "./series.js";

/** @typedef {import("./series.js").Series} Series */
/** @typedef {import("./zone.js").Zone} Zone */

/** Says what a device did in a span.
 * @param {number} now seconds */
export function finding(series, now, zone, range) {
	const { points } = series, brief = range === "hour" || range === "day";
	if (points.length === 0) return "No readings in this time.";
	const high = Math.max(...points.map((p) => p.max)), low = Math.min(...points.map((p) => p.min));
	const kwh = total(points), missing = gaps(series, now), clock = (t) => zone.time(t * 1000);
	let text = brief ? ran(series, kwh, high, clock) : stoodOut(series, kwh, zone);
	if (high < 1 && low > -1) text = "It drew nothing.";
	else if (kwh < 0) text = `It fed in ${energy(-kwh)}, at most ${watts(-low)}.`;
	if (missing.length === 0) return text;
	if (!brief) return `${text} Some of it was not measured.`;
	if (missing.length > 2) return `${text} No data in ${missing.length} spans.`;
	return `${text} No data ${listed(missing.map(([a, b]) => `from ${clock(a)} to ${clock(b)}`))}.`;
}

/** Says how a device ran in an hour or a day.
 * @param {number} high the highest power
 * @param {(t: number) => string} clock */
function ran(series, kwh, high, clock) {
	const { points } = series, limit = Math.max(3, Math.max(...points.map((p) => p.w)) * 0.15);
	const on = points.filter((p) => p.w >= limit), found = runs(series, limit);
	const mean = `about ${watts(on.reduce((sum, p) => sum + p.w, 0) / on.length)}`;
	const end = `${energy(kwh)}, at most ${watts(high)}.`;
	if (found.length === 0) return `Never more than ${watts(high)}: ${energy(kwh)}.`;
	if (on.length > 0.95 * points.length) return `On all the time, ${mean}: ${end}`;
	if (found.length > 4) {
		return `On ${percent(on.length / points.length)} of the time, in ${found.length} runs of ${mean}: ${energy(kwh)}.`;
	}
	const when = listed(found.map(([a, b]) => `${clock(a)} to ${clock(b)}`));
	return `It ran ${found.length === 1 ? "once" : `${found.length} times`}, ${when}: ${end}`;
}

/** Says which day of a longer span stands out. */
function stoodOut({ points }, kwh, zone) {
	const days = [...Map.groupBy(points, (p) => zone.day(p.t * 1000))].map(([ms, day]) => ({ ms, kwh: total(day) }));
	const best = days.reduce((a, b) => (b.kwh > a.kwh ? b : a));
	return `${energy(kwh)}, ${energy(kwh / days.length)} a day; most on ${zone.weekday(best.ms)} ` +
		`${zone.date(best.ms)}, ${energy(best.kwh)}.`;
}

/** Finds the spans in which a device drew at least a limit, in seconds. Pauses of
 * one bucket do not end a run.
 * @param {number} limit watts */
export function runs(series, limit) {
	const { hold } = rhythm(series);
	/** @type {[number, number][]} */
	const out = [];
	for (const { t, w } of series.points) {
		const last = out.at(-1);
		if (w < limit) continue;
		if (last && t - last[1] <= 1.1 * hold) last[1] = t + hold;
		else out.push([t, t + hold]);
	}
	return out;
}
