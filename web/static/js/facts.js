// @ts-check
// Amounts of energy: a line of figures, and bars by day.

import { el } from "./dom.js";
import { energy } from "./format.js";
import { total } from "./series.js";

/** @typedef {import("./zone.js").Zone} Zone */

/** Finds the bounds of what amounts are about, in milliseconds. */
export function bounds(zone) {
	const now = Date.now(), w = zone.wall(now), month = zone.instant(w.year, w.month, 1);
	const [today, tomorrow, yesterday, week] = [0, 1, -1, -6].map((n) => zone.day(now, n));
	const sameTime = zone.instant(w.year, w.month, w.day - 1, w.hour, w.minute);
	return { today, tomorrow, yesterday, month, sameTime, first: Math.min(month, week) };
}

/** Says what was used today, yesterday and in the month. */
export function facts(days, zone) {
	const { today, yesterday, month } = bounds(zone);
	const before = days.filter((p) => p.t * 1000 >= month && p.t * 1000 < today);
	return {
		today: energy(total(days, today)), yesterday: energy(total(days, yesterday, today)),
		month: energy(total(days, month)), monthName: `${zone.month(today)} so far`,
		mean: before.length > 1 ? `about ${energy(total(before) / before.length)} a day` : "",
	};
}

/** Draws the last seven days side by side; the one that still runs looks different. */
export function bars(points, zone) {
	const { today } = bounds(zone);
	const days = [-6, -5, -4, -3, -2, -1, 0].map((n) => {
		const from = zone.day(today, n), kwh = total(points, from, zone.day(today, n + 1));
		return { name: n === 0 ? "Today" : zone.weekday(from), kwh, kind: kwh === null ? "missing" : n === 0 ? "running" : "" };
	});
	const largest = Math.max(1e-9, ...days.map((d) => Math.abs(d.kwh)));
	return el("ol.bars", ...days.map(({ name, kwh, kind }) => {
		const bar = el("span.column"), [amount, unit = ""] = energy(kwh).split(" ");
		bar.style.height = `${Math.abs(kwh) / largest * 124}px`;
		const text = el("span", amount, el(unit === "kWh" ? "span.kwh" : "span", ` ${unit}`));
		const item = el("li", el("span.day", name), el("span.space", text, bar));
		item.dataset.kind = kind;
		return item;
	}));
}
