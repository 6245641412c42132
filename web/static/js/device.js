// @ts-check
// The view of one device: what it does, did and will do.

import { make, el, put, say, tell, mark, flag, draw, failure } from "./dom.js";
import { get, attempt } from "./api.js";
import { drawn } from "./flows.js";
import { bigWatts, count } from "./format.js";
import { facts, bars, bounds } from "./facts.js";
import { Figure, refresh, redraw } from "./figure.js";
import { load } from "./series.js";
import { finding } from "./finding.js";
import { Switch, doing, reached, unknown } from "./switch.js";
import { pictureOf } from "./icons.js";
import { scheduleWords } from "./schedule.js";
import { Span, steps } from "./span.js";

/** The view of one device. */
export class DeviceView {
	/** Makes the view.
	 * @param {import("./house.js").House} house
	 * @param {number} id of the device, which need not be there */
	constructor(house, id) {
		this.house = house;
		this.id = id;
		this.title = house.devices.get(id)?.alias || "Not here";
		this.ending = new AbortController();
		this.asked = new AbortController();
		this.span = Span.fromAddress(house.zone);
		this.series = null;
		this.loaded = this.drawn = 0;
		this.parts = make("device");
		this.root = this.parts.root;
		this.switch = new Switch(house, id, this.parts.switch);
		this.figure = new Figure(house.zone, this.parts.figure, "Power", this.title);
		const { segments, walk, back, next } = this.figure.parts;
		segments.hidden = walk.hidden = false;
		segments.onclick = ({ target: { dataset: { range } } }) => range && this.go(this.span.other(range));
		back.onclick = () => this.go(this.span.other(this.span.range, -1));
		next.onclick = () => this.go(this.span.other(this.span.range, 1));
		house.addEventListener("event", (/** @type {any} */ e) => {
			if (e.detail.device_id === id) this.loadRest();
		}, { signal: this.ending.signal });
	}

	/** Ends the view. */
	stop() {
		this.ending.abort();
		this.asked.abort();
		this.figure.destroy();
	}

	/** Shows another span. */
	go(span) {
		this.span = span;
		history.replaceState(null, "", span.address());
		this.figure.parts.plot.classList.add("stale");
		this.loadCurve();
	}

	/** Loads the curve of the span; an earlier request is dropped. */
	loadCurve() {
		this.asked.abort();
		this.asked = new AbortController();
		const { asked: { signal }, house: { zone }, span: { range, running } } = this;
		if (running) this.span = new Span(zone, range);
		const { from, to } = this.span, { segments, when, next } = this.figure.parts;
		for (const node of segments.children) mark(node, "aria-pressed", String(node.dataset.range === range));
		say(when, this.span.words());
		next.disabled = running || this.span.other(range, 1).future;
		attempt(async () => {
			this.series = await load(this.id, from, to, steps[range], signal);
			this.draw();
		}, (error, retry) => this.figure.fail(error, retry));
	}

	/** Draws the curve, of an hour or a day up to what is drawn now. */
	draw() {
		const { series, span: { range, running }, house: { zone, devices, condition } } = this, now = Date.now() / 1000;
		const device = devices.get(this.id), live = running && condition === "live" && /hour|day/.test(range);
		const w = device && live ? drawn(device) : null, tip = w === null ? null : { t: Math.min(now, series.to), w };
		this.drawn = Date.now();
		this.figure.show({ series, range, now, tip }, finding(series, now, zone, range));
	}

	/** Fills a part with what is loaded, or with why it did not come.
	 * @param {() => Promise<any>} content */
	fill(part, content) {
		attempt(async () => put(part, await content()), (error, retry) => failure(part, error, retry));
	}

	/** Loads all but the curve. */
	loadRest() {
		const { id, parts, ending: { signal }, house: { zone } } = this, { first, tomorrow } = bounds(zone);
		this.loaded = Date.now();
		this.fill(parts.week, async () => {
			const { points } = await load(id, first, tomorrow, "1d", signal);
			tell(parts, facts(points, zone));
			return bars(points, zone);
		});
		this.fill(parts.plan, async () => el("ul.plain",
			...scheduleWords(await get(`/devices/${id}/schedule`, signal)).map((text) => el("li", text))));
		this.fill(parts.past, async () => {
			const { items } = await get(`/events?device=${id}&per_page=8`, signal);
			return items.length === 0 ? el("p.calm", "Nothing yet.") : el("ul.events", ...items.map(({ time, text }) =>
				el("li", el("span.time", zone.moment(time)), el("bdi", text))));
		});
	}

	/** Shows what is so now. */
	update() {
		const { house, parts } = this, device = house.devices.get(this.id), { zone } = house;
		if (!device) {
			put(this.root, ...make("missing").root.children);
			return;
		}
		const { alias, room, online, power_state: state, on, last_seen: seen, rejected: { count: n, last_reason } } = device;
		const [number, unit] = bigWatts(drawn(device)), does = doing(device, house);
		this.title = alias;
		tell(parts, { number, unit, name: alias, where: [room, reached(device)].filter(Boolean).join(" · "),
			does: does[0].toUpperCase() + does.slice(1), state: state || (on === null ? "–" : on ? "on" : "off"),
			heard: seen ? `heard ${zone.moment(seen)}` : "never heard",
			rejected: `${count(n, "message")} could not be used and not stored. The last: ${last_reason}.` });
		draw(parts.icon, pictureOf(device));
		mark(parts.number, "title", unknown(device, house));
		flag(parts.does, "data-bad", !online || house.wish(this.id)?.failed);
		parts.chip.hidden = !device.always_on;
		parts.rejected.hidden = n === 0;
		this.switch.update(device);
		const since = Date.now() - this.loaded, live = house.condition === "live" && !document.hidden;
		if (this.loaded === 0 || (live && since > refresh)) {
			if (this.span.running || this.loaded === 0) this.loadCurve();
			this.loadRest();
		} else if (live && this.span.running && this.series && Date.now() - this.drawn > redraw) this.draw();
	}
}
