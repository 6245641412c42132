// @ts-check
// The picture of power over time: uPlot with our axes, gaps and colours.

import vendored from "../vendor/uPlot.esm.js";
import { columns, gaps } from "./series.js";
import { put } from "./dom.js";

/** @typedef {{series: import("./series.js").Series, range: string, now: number,
 * tip: {t: number, w: number} | null}} Picture now in seconds; tip is what is drawn now */

/** The vendored file has no types. */
const uPlot = /** @type {any} */ (vendored);
const font = 'px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const dark = matchMedia("(prefers-color-scheme: dark)");

/** A chart that follows its host's size and the colour scheme. */
export class Chart {
	/** Makes a chart without a picture.
	 * @param {HTMLElement} host its size is the chart's
	 * @param {import("./zone.js").Zone} zone
	 * @param {(at: {t: number, w: number} | null) => void} onPoint told what the pointer is at */
	constructor(host, zone, onPoint) {
		this.host = host;
		this.zone = zone;
		this.onPoint = onPoint;
		/** @type {Picture | null} */
		this.picture = null;
		this.plot = null;
		this.build = this.build.bind(this);
		this.observer = new ResizeObserver(this.build);
		this.observer.observe(host);
		dark.addEventListener("change", this.build);
	}

	/** Lets go of everything. */
	destroy() {
		this.observer.disconnect();
		dark.removeEventListener("change", this.build);
		this.plot?.destroy();
	}

	/** Draws a picture in place of the last.
	 * @param {Picture} picture */
	show(picture) {
		const last = this.picture;
		this.picture = picture;
		if (!this.plot || last.range !== picture.range) this.build();
		else this.plot.setData(columns(picture.series, picture.now, picture.tip));
	}

	/** Makes the chart anew. */
	build() {
		const { clientWidth: width, clientHeight: height } = this.host;
		if (!this.picture || width === 0) return;
		const { series, now, tip } = this.picture;
		this.plot?.destroy();
		put(this.host);
		this.plot = new uPlot(this.options(width, height), columns(series, now, tip), this.host);
		this.plot.over.onmouseleave = () => this.onPoint(null);
	}

	/** Makes uPlot's options. */
	options(width, height) {
		const style = getComputedStyle(this.host), colour = (name) => style.getPropertyValue(`--${name}`);
		const line = colour("energy-line"), axis = { stroke: colour("ink-3"), font: `12${font}`, ticks: { show: false } };
		return {
			width, height, padding: [12, 12, 0, 0], legend: { show: false },
			cursor: { y: false, drag: { x: false, y: false }, points: { size: 9, fill: line } },
			scales: {
				x: { time: false, range: () => [this.picture.series.from, this.picture.series.to] },
				y: { range: (_, min, max) => [Math.min(0, min * 1.1), Math.max(10, max * 1.1)] },
			},
			axes: [
				{ ...axis, size: 28, gap: 6, grid: { show: false }, splits: () => this.ticks(width < 560),
					values: (_, at) => at.map((t) => this.label(t)) },
				{ ...axis, size: 58, gap: 8, space: height / 5, grid: { stroke: colour("line-soft"), width: 1 },
					values: (_, at) => units(at) },
			],
			series: [{}, { stroke: line, width: 1.6, fill: colour("energy-soft"), spanGaps: false,
				points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) }],
			hooks: {
				drawClear: [(u) => this.drawGaps(u, colour)],
				draw: [(u) => this.drawNow(u, colour)],
				setCursor: [({ cursor: { idx }, data: [ts, ws] }) =>
					this.onPoint(typeof ws[idx] === "number" ? { t: ts[idx], w: ws[idx] } : null)],
			},
		};
	}

	/** Finds the instants that the x axis names, in seconds. */
	ticks(narrow) {
		const { zone, picture: { range, series: { from, to } } } = this, { year, month, day, hour } = zone.wall(from * 1000);
		const at = {
			hour: (i) => zone.instant(year, month, day, hour, i * (narrow ? 20 : 10)),
			day: (i) => zone.instant(year, month, day, i * (narrow ? 6 : 3)),
			week: (i) => zone.instant(year, month, day + i, 12),
			month: (i) => zone.instant(year, month, 1 + i * 7, 12),
			year: (i) => zone.instant(year, 1 + i * (narrow ? 3 : 1), 15),
		}[range];
		return Array.from({ length: 32 }, (_, i) => at(i) / 1000).filter((t) => t > from && t < to);
	}

	/** Names an instant on the x axis.
	 * @param {number} t seconds */
	label(t) {
		const ms = t * 1000, { zone, picture: { range } } = this, month = zone.month(ms).slice(0, 3);
		if (range === "week") return zone.weekday(ms);
		if (range === "month") return `${zone.wall(ms).day} ${month}`;
		return range === "year" ? month : zone.time(ms);
	}

	/** Draws the spans without data. */
	drawGaps({ ctx, bbox, valToPos }, colour) {
		const px = uPlot.pxRatio, { series, now } = this.picture;
		let free = 0;
		ctx.save();
		ctx.font = `${12 * px}${font}`;
		ctx.textBaseline = "top";
		const wide = ctx.measureText("no data").width;
		for (const [a, b] of gaps(series, now)) {
			const x = valToPos(a, "x", true), w = Math.max(valToPos(b, "x", true) - x, 2 * px), at = x + (w - wide) / 2;
			ctx.fillStyle = colour("gap");
			ctx.fillRect(x, bbox.top, w, bbox.height);
			ctx.fillStyle = colour("ink-3");
			if (w < 20 * px || at < free) continue;
			ctx.fillText("no data", at, bbox.top + 4 * px);
			free = at + wide + 8 * px;
		}
		ctx.restore();
	}

	/** Draws the zero line, and a line and a dot where now is. */
	drawNow({ ctx, bbox, valToPos }, colour) {
		const thin = Math.max(1, Math.round(uPlot.pxRatio)), { tip } = this.picture;
		ctx.save();
		ctx.fillStyle = colour("unknown");
		ctx.fillRect(bbox.left, Math.round(valToPos(0, "y", true)), bbox.width, thin);
		if (tip) {
			const x = valToPos(tip.t, "x", true);
			ctx.fillStyle = colour("ink");
			ctx.fillRect(Math.round(x - thin / 2), bbox.top, thin, bbox.height);
			ctx.beginPath();
			ctx.arc(x, valToPos(tip.w, "y", true), 4.5 * uPlot.pxRatio, 0, 2 * Math.PI);
			ctx.fill();
		}
		ctx.restore();
	}
}

/** Names grid lines, all in one unit.
 * @param {number[]} at watts */
function units(at) {
	const kilo = at.some((v) => Math.abs(v) >= 1000);
	return at.map((v) => (kilo ? `${+(v / 1000).toFixed(2)} kW` : `${+v.toFixed(1)} W`).replace("-", "−"));
}
