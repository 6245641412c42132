// @ts-check
// Schedules in words. Pure.

import { listed } from "./format.js";

const names = { mon: "Mon", tue: "Tue", wed: "Wed", thu: "Thu", fri: "Fri", sat: "Sat", sun: "Sun" };
const states = { D0: "on", D1: "dimmed", D2: "asleep", D3hot: "off", D3cold: "without power" };

/** Says what a schedule wants, as the API has it, a sentence for each thing. */
export function scheduleWords({ always_on = false, schedule = [], power_schedule = [], handlers = {} }) {
	const state = (s) => (states[s] ? `${s} (${states[s]})` : s);
	const rules = Array.isArray(handlers) ? handlers.map((h) => String(h?.name)) : Object.keys(handlers || {});
	const out = [
		...(always_on ? ["It is always on: schedules and the household's shutdown leave it alone."] : []),
		...schedule.map((i) => `On ${when(i)}.`),
		...(schedule.length > 0 ? ["Off at all other times."] : []),
		...power_schedule.map((i) => `${state(i.during)} ${when(i)}; then ${state(i.after)}.`),
		...(rules.length > 0 ? [`It also has the rule${rules.length > 1 ? "s" : ""} ${listed(rules)}.`] : []),
	];
	return out.length > 0 ? out : ["It has no schedule: it runs when someone turns it on."];
}

/** Writes an interval's times and days. */
export function when({ from, to, days = [] }) {
	const list = Object.keys(names).filter((d) => days.includes(d)), key = list.join();
	const on = list.length % 7 === 0 ? "every day" : key === "mon,tue,wed,thu,fri" ? "Monday to Friday"
		: key === "sat,sun" ? "Saturday and Sunday" : listed(list.map((d) => names[d]));
	return `${from} to ${to}${to < from ? " the next day" : ""}, ${on}`;
}
