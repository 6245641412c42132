// @ts-check
// The stream of server-sent events, and whether it is still there.

import { get, attempt } from "./api.js";

/** A stream that is silent for so long is asked for anew. Each begins with the
 * state of all devices, and so tells a quiet house from a dead line. */
const silence = 40e3;
/** How long until a stream that was refused is asked for again, in milliseconds. */
const pause = 4e3;

/** A stream that comes back by itself. */
export class Live {
	/** Makes a stream that has not begun.
	 * @param {(type: string, data: any) => void} onEvent
	 * @param {(condition: string) => void} onCondition told "live" and "lost" */
	constructor(onEvent, onCondition) {
		this.onEvent = onEvent;
		this.onCondition = onCondition;
		/** @type {EventSource | null} */
		this.source = null;
		this.heard = this.asked = 0;
		addEventListener("offline", () => this.source && this.onCondition("lost"));
		document.addEventListener("visibilitychange", () => this.check());
		setInterval(() => this.check(), 5000);
	}

	/** Ends. */
	stop() {
		this.source?.close();
		this.source = null;
	}

	/** Drops a stream that is silent. */
	check() {
		const now = Date.now(), quiet = now - this.heard;
		if (!this.source || document.hidden || quiet < silence || now - this.asked < 2 * pause) return;
		if (quiet > silence + 3 * pause) this.onCondition("lost");
		this.open();
	}

	/** Asks for the stream, in place of one that there is. */
	open() {
		this.source?.close();
		const source = new EventSource("/api/v1/live");
		this.source = source;
		this.asked = Date.now();
		source.onopen = () => {
			this.heard = Date.now();
			this.onCondition("live");
		};
		source.onerror = () => this.failed(source);
		for (const type of ["reading", "state", "command", "event"]) {
			source.addEventListener(type, (e) => {
				this.heard = Date.now();
				this.onEvent(type, JSON.parse(e.data));
			});
		}
	}

	/** Takes the end of a stream. The browser asks again after a broken line, but
	 * not after a refusal: that may mean that someone has to sign in.
	 * @param {EventSource} source */
	failed(source) {
		if (source !== this.source) return;
		this.onCondition("lost");
		if (source.readyState !== EventSource.CLOSED) return;
		attempt(() => get("/session"));
		setTimeout(() => this.source === source && this.open(), pause);
	}
}
