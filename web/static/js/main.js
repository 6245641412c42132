// @ts-check
// The page's frame: who is here, which view is shown, and whether it is live.

import { make, put, say, mark, announce, failure } from "./dom.js";
import { api, gate, attempt } from "./api.js";
import { House } from "./house.js";
import { NowView } from "./now.js";
import { DeviceView } from "./device.js";
import { DevicesView } from "./devices.js";
import { LoginView } from "./login.js";
import { wished } from "./switch.js";
import { count } from "./format.js";

/** How long changes are gathered before they are shown, in milliseconds. */
const beat = 200;

/** Finds a part of the frame. */
const part = (id) => document.getElementById(id);

/** The page. */
class Page {
	/** Makes the page. */
	constructor() {
		this.house = new House();
		/** @type {{title: string, root: Element, update?: () => void, stop?: () => void} | null} */
		this.view = null;
		this.waiting = this.ready = false;
		this.house.addEventListener("change", () => this.soon());
		this.house.addEventListener("switched", (/** @type {any} */ { detail: { device, wish } }) =>
			announce(`${device.alias} ${wish.failed ? wished(wish) : wish.want ? "is on" : "is off"}.`));
		gate.addEventListener("signedout", () =>
			this.login(this.ready ? "Your session has ended. Sign in again." : "This house is for its members."));
		addEventListener("popstate", () => this.route());
		document.addEventListener("click", (e) => this.follow(e));
		part("signout").onclick = () => this.leave();
		setInterval(() => this.update(), 1000);
		this.start();
	}

	/** Begins; while the house does not answer, says so and tries again. */
	start() {
		return attempt(() => this.load(), (error) => {
			if (error.status === 401) return;
			const { root, why } = make("trouble");
			document.body.dataset.view = "trouble";
			put(part("main"), root);
			failure(why, error, () => this.start());
			setTimeout(() => root.isConnected && this.start(), 5000);
		});
	}

	/** Loads the house and shows the view. */
	async load() {
		await this.house.load();
		const { demo, name, version } = this.house.info;
		this.ready = true;
		document.body.dataset.view = "ready";
		part("signout").hidden = demo;
		part("demo").hidden = !demo;
		part("plain").hidden = location.protocol === "https:" || /^(localhost|127\.|\[::1\])/.test(location.hostname);
		say(part("version"), [name, `wattle ${version}`].filter(Boolean).join(", "));
		this.route();
	}

	/** Asks for a login in place of the view. */
	login(reason) {
		if (document.body.dataset.view === "login") return;
		this.ready = false;
		this.house.close();
		for (const dialog of document.querySelectorAll("dialog")) dialog.close();
		document.body.dataset.view = "login";
		this.show(new LoginView(reason, () => this.load()));
		part("username").focus();
	}

	/** Signs out. */
	leave() {
		attempt(async () => {
			await api("POST", "/logout");
			this.login("You have signed out.");
		}, (error) => announce(error.message));
	}

	/** Follows links within the page without loading it anew. */
	follow(e) {
		const link = e.target.closest("a");
		if (!link || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
		if (link.origin !== location.origin || !/^\/($|ui)/.test(link.pathname) || link.hash) return;
		e.preventDefault();
		if (link.href !== location.href) history.pushState(null, "", link.href);
		this.route();
		scrollTo(0, 0);
		const heading = part("main").querySelector("h1");
		heading.tabIndex = -1;
		heading.focus({ preventScroll: true });
	}

	/** Shows the view of the address. */
	route() {
		if (!this.ready) return;
		const [, ui, place, id] = location.pathname.split("/"), devices = ui === "ui" && place === "devices";
		this.show(!devices ? new NowView(this.house) : id ? new DeviceView(this.house, Number(id)) : new DevicesView(this.house));
		for (const link of document.querySelectorAll("[data-place]")) {
			mark(link, "aria-current", link.getAttribute("data-place") === (devices ? "devices" : "now") ? "page" : null);
		}
	}

	/** Puts a view in place of the last. */
	show(view) {
		this.view?.stop?.();
		this.view = view;
		put(part("main"), view.root);
		this.update();
	}

	/** Redraws soon, once for many changes. */
	soon() {
		if (this.waiting) return;
		this.waiting = true;
		setTimeout(() => {
			this.waiting = false;
			this.update();
		}, beat);
	}

	/** Shows what is so now, in the view and in the frame. */
	update() {
		if (!this.view) return;
		this.view.update?.();
		document.title = this.view.title ? `${this.view.title} · wattle` : "wattle";
		if (!this.ready) return;
		const { condition, zone, devices, heard } = this.house, now = Date.now(), { dataset } = document.body;
		const was = dataset.live;
		dataset.live = condition;
		say(part("clock"), `${zone.weekday(now)} ${zone.time(now)}`);
		say(part("count"), count(devices.size, "device"));
		say(part("heard"), `${zone.moment(heard)}, ${Math.round((now - heard) / 60e3)} min ago`);
		if (was === condition) return;
		if (condition === "lost") announce("The page is not live any more. It keeps the last values.");
		else if (was === "lost") announce("The page is live again.");
	}
}

new Page();
