// @ts-check
// Wall-clock time in the household's zone, whatever zone the browser is in.
// Instants are milliseconds of Unix time.

const weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const months = ["January", "February", "March", "April", "May", "June", "July", "August",
	"September", "October", "November", "December"];
const halfDay = 12 * 3600e3;

/** Writes a number with two digits. */
const two = (n) => String(n).padStart(2, "0");

/** A time zone. */
export class Zone {
	/** Makes a zone; the browser's own if the name is missing or unknown.
	 * @param {string} [name] of the IANA */
	constructor(name) {
		/** @type {Intl.DateTimeFormatOptions} */
		const fields = { hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit",
			hour: "2-digit", minute: "2-digit", second: "2-digit" };
		try {
			this.format = new Intl.DateTimeFormat("en-GB", { ...fields, timeZone: name });
		} catch {
			this.format = new Intl.DateTimeFormat("en-GB", fields);
		}
	}

	/** Reads the wall clock at an instant as if it were UTC. */
	shifted(ms) {
		const p = Object.fromEntries(this.format.formatToParts(ms).map((f) => [f.type, Number(f.value)]));
		return Date.UTC(p.year, p.month - 1, p.day, p.hour, p.minute, p.second);
	}

	/** Reads the wall clock at an instant: months from 1, weekdays from 0 for Sunday. */
	wall(ms) {
		const d = new Date(this.shifted(ms));
		return { year: d.getUTCFullYear(), month: d.getUTCMonth() + 1, day: d.getUTCDate(),
			hour: d.getUTCHours(), minute: d.getUTCMinutes(), weekday: d.getUTCDay() };
	}

	/** Finds the instant of a wall-clock time. What is beyond its range counts on.
	 * A time that occurs twice means the first; one that is skipped is read with
	 * the offset before the gap. */
	instant(year, month, day, hour = 0, minute = 0) {
		const want = Date.UTC(year, month - 1, day, hour, minute);
		const before = 2 * want - halfDay - this.shifted(want - halfDay);
		if (this.shifted(before) === want) return before;
		const after = 2 * want + halfDay - this.shifted(want + halfDay);
		return this.shifted(after) === want ? after : before;
	}

	/** Finds the beginning of an instant's local day, or of one some days later. */
	day(ms, days = 0) {
		const w = this.wall(ms);
		return this.instant(w.year, w.month, w.day + days);
	}

	/** Writes "14:32". */
	time(ms) {
		const w = this.wall(ms);
		return `${two(w.hour)}:${two(w.minute)}`;
	}

	/** Writes "Thu". */
	weekday(ms) {
		return weekdays[this.wall(ms).weekday];
	}

	/** Writes "March". */
	month(ms) {
		return months[this.wall(ms).month - 1];
	}

	/** Writes "3 March". */
	date(ms) {
		return `${this.wall(ms).day} ${this.month(ms)}`;
	}

	/** Writes "2026-03-03". */
	iso(ms) {
		const w = this.wall(ms);
		return `${w.year}-${two(w.month)}-${two(w.day)}`;
	}

	/** Writes a moment as people say it: "14:32" today, "Thu 14:32" in the last
	 * week, "3 March 14:32" this year, else "3 March 2025". */
	moment(when, now = Date.now()) {
		const ms = new Date(when).getTime();
		if (this.day(ms) === this.day(now)) return this.time(ms);
		if (ms < now && ms >= this.day(now, -6)) return `${this.weekday(ms)} ${this.time(ms)}`;
		const { year } = this.wall(ms);
		return `${this.date(ms)} ${year === this.wall(now).year ? this.time(ms) : year}`;
	}
}
