// @ts-check
// Series of power and energy as the page draws them. Times are Unix seconds, as
// uPlot counts. Pure, but for load and loadHouse.

import { get } from "./api.js";
import { house } from "./flows.js";

/** @typedef {{t: number, w: number, min: number, max: number, kwh: number}} Point t is its bucket's beginning */
/** @typedef {{from: number, to: number, step: string, points: Point[]}} Series */

/** Asks for series.
 * @param {number} from milliseconds
 * @param {number} to milliseconds
 * @param {AbortSignal} signal
 * @param {(answer: any) => Point[]} points
 * @returns {Promise<Series>} */
async function ask(path, from, to, step, signal, points) {
	const query = { from: new Date(from).toISOString(), to: new Date(to).toISOString(), step };
	const answer = await get(`${path}?${new URLSearchParams(query)}`, signal);
	return { from: from / 1000, to: to / 1000, step: answer.step, points: points(answer) };
}

/** Loads the series of one device.
 * @param {[number, number, string, AbortSignal]} what from, to, step, signal */
export function load(id, ...what) {
	return ask(`/devices/${id}/series`, ...what, (answer) => toPoints(answer.points));
}

/** Loads the series of the whole house.
 * @param {[number, number, string, AbortSignal]} what from, to, step, signal */
export function loadHouse(devices, ...what) {
	return ask("/series", ...what, (answer) => sum(answer.devices, devices));
}

/** Reads the points of an answer, in order of time. */
function toPoints(points) {
	return points.filter((p) => typeof p.mean_w === "number").map((p) => ({
		t: Date.parse(p.time) / 1000, w: p.mean_w, min: p.min_w ?? p.mean_w, max: p.max_w ?? p.mean_w,
		kwh: p.energy_kwh ?? 0,
	})).sort((a, b) => a.t - b.t);
}

/** Adds up the series of devices to that of the house. What the house drew at
 * least and at most cannot be told from the parts' extremes, which came at
 * different moments: the mean stands for them.
 * @param {{device_id: number, points: any[]}[]} list */
export function sum(list, devices) {
	const all = list.filter((s) => devices.has(s.device_id)).flatMap(({ device_id, points }) =>
		toPoints(points).map((point) => ({ device: devices.get(device_id), point })));
	/** @type {Point[]} */
	const out = [];
	for (const [t, items] of Map.groupBy(all, ({ point }) => point.t)) {
		const w = house(items.map(({ device, point }) => [device, point.w]), devices).total;
		const kwh = house(items.map(({ device, point }) => [device, point.kwh]), devices).total;
		if (w !== null) out.push({ t, w, min: w, max: w, kwh });
	}
	return out.sort((a, b) => a.t - b.t);
}

/** Adds up energy, null where nothing was measured.
 * @param {Point[]} points
 * @param {number} [from] milliseconds
 * @param {number} [to] milliseconds */
export function total(points, from = 0, to = Infinity) {
	const some = points.filter((p) => p.t * 1000 >= from && p.t * 1000 < to);
	return some.length === 0 ? null : some.reduce((sum, p) => sum + p.kwh, 0);
}

/** Returns how long a point's value holds, and how far apart two points are if
 * something is missing between them, in seconds. */
export function rhythm({ step, points }) {
	const fixed = { "5m": 300, "1h": 3600, "1d": 86400 }[step];
	if (fixed) return { hold: fixed, gap: fixed * 1.5 };
	const steps = points.slice(1).map((p, i) => p.t - points[i].t).sort((a, b) => a - b);
	const usual = steps[steps.length >> 1] ?? 60;
	return { hold: usual, gap: Math.max(3 * usual, 900) };
}

/** Finds the spans without data up to now, in seconds. At both ends a pause is
 * none before it is long: buckets fill slowly.
 * @param {number} now seconds */
export function gaps(series, now) {
	const { hold, gap } = rhythm(series), patience = Math.max(gap, 900), end = Math.min(series.to, now);
	/** @type {[number, number][]} */
	const out = [];
	let at = series.from, most = patience;
	for (const { t } of series.points) {
		if (t - at > most) out.push([at, t]);
		at = Math.max(at, t + hold);
		most = gap - hold;
	}
	if (end - at > patience) out.push([at, end]);
	return out;
}

/** Makes the columns that uPlot draws: steps, broken where something is missing.
 * @param {Series} series
 * @param {number} now seconds
 * @param {{t: number, w: number} | null} tip what is drawn now, to end with */
export function columns(series, now, tip) {
	const { hold, gap } = rhythm(series), { points, to } = series;
	/** @type {[number, number | null][]} */
	const out = [];
	points.forEach((p, i) => {
		const next = points[i + 1], end = Math.min(p.t + hold, to, Math.max(now, p.t + 1));
		out.push([p.t, p.w]);
		if (next?.t - p.t <= gap) return;
		if (!next && tip?.t - p.t <= Math.max(2 * hold, 900)) out.push([tip.t, tip.w]);
		else out.push([end, p.w]);
		if (next) out.push([(end + next.t) / 2, null]);
	});
	return [out.map((o) => o[0]), out.map((o) => o[1])];
}
