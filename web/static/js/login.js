// @ts-check
// The view that asks who someone is.

import { make, say } from "./dom.js";
import { api, attempt } from "./api.js";

/** The view Sign in. */
export class LoginView {
	/** Makes the view.
	 * @param {string} reason why it is asked
	 * @param {() => Promise<void>} done called when someone has signed in */
	constructor(reason, done) {
		this.title = "Sign in";
		this.done = done;
		this.parts = make("login");
		this.root = this.parts.root;
		this.form = this.root.querySelector("form");
		this.form.onsubmit = (e) => this.send(e);
		say(this.parts.reason, reason);
	}

	/** Ends the view. */
	stop() {
		this.form.reset();
	}

	/** Signs in. */
	async send(e) {
		const { username, password } = this.form.elements, { submit, fault } = this.parts;
		e.preventDefault();
		submit.disabled = true;
		say(fault, "");
		await attempt(async () => {
			await api("POST", "/login", { username: username.value.trim(), password: password.value });
			await this.done();
		}, (error) => {
			say(fault, error.status === 401 ? "User name or password is wrong." : error.message);
			password.value = "";
			password.focus();
		});
		submit.disabled = false;
	}
}
