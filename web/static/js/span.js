// @ts-check
// The span of time that a chart shows: an hour, or a day, week, month or year of
// the household's calendar. Pure, but for the clock and the address.

/** Which step of the series is drawn for a range. */
export const steps = { hour: "raw", day: "5m", week: "1h", month: "1h", year: "1d" };

/** A span; it does not change. One that holds now follows the clock. */
export class Span {
	/** Makes the span around an instant, or the last one there is.
	 * @param {import("./zone.js").Zone} zone
	 * @param {number} [at] milliseconds; of an hour, its end
	 * @param {number} [n] how many spans later */
	constructor(zone, range, at = Infinity, n = 0) {
		const now = Date.now(), w = zone.wall(Math.min(at, now));
		const monday = w.day - (w.weekday + 6) % 7;
		const begins = {
			hour: (n) => Math.min(at, now) + (n - 1) * 3600e3,
			day: (n) => zone.instant(w.year, w.month, w.day + n),
			week: (n) => zone.instant(w.year, w.month, monday + 7 * n),
			month: (n) => zone.instant(w.year, w.month + n, 1),
			year: (n) => zone.instant(w.year + n, 1, 1),
		};
		this.zone = zone;
		this.range = range;
		this.from = begins[range](n);
		this.to = begins[range](n + 1);
		this.future = this.from >= now;
		this.running = !this.future && this.to > now - (range === "hour" ? 60e3 : 0);
	}

	/** Reads the span of the page's address; what is none is today.
	 * @param {import("./zone.js").Zone} zone */
	static fromAddress(zone) {
		const query = new URLSearchParams(location.search), range = query.get("range") || "";
		const date = /^(\d{4})-(\d\d)-(\d\d)$/.exec(query.get("date") || "");
		return new Span(zone, range in steps ? range : "day",
			date ? zone.instant(+date[1], +date[2], +date[3], 12) : undefined);
	}

	/** Writes what fromAddress reads. */
	address() {
		const date = this.running || this.range === "hour" ? "" : `&date=${this.zone.iso(this.from)}`;
		return `?range=${this.range}${date}`;
	}

	/** Returns the span of another length at the same time, or some spans later. */
	other(range, n = 0) {
		const at = this.range === "hour" || range === "hour" ? this.to : this.from;
		return new Span(this.zone, range, this.running ? undefined : at, n);
	}

	/** Says which span it is. */
	words() {
		const { zone, from, to, range } = this;
		const { year } = zone.wall(from);
		if (range === "hour") return `${zone.time(from)} to ${zone.moment(to)}`;
		if (range === "year") return String(year);
		if (range === "month") return `${zone.month(from)} ${year}`;
		if (range === "week") return `${zone.date(from)} to ${zone.date(zone.day(to, -1))}`;
		const day = `${zone.weekday(from)} ${zone.date(from)}`;
		if (this.running) return `Today, ${day}`;
		return year === zone.wall(Date.now()).year ? day : `${day} ${year}`;
	}
}
