// @ts-check
// The view of all devices: what they are and how they are reached; owners add,
// rename and remove them here.

import { make, say, mark, announce } from "./dom.js";
import { api, attempt } from "./api.js";
import { ask, form, open, copyable } from "./dialog.js";
import { Rows, reach } from "./rows.js";
import { listed } from "./format.js";

/** The view Devices. */
export class DevicesView {
	/** Makes the view.
	 * @param {import("./house.js").House} house */
	constructor(house) {
		this.house = house;
		this.title = "Devices";
		this.parts = make("devices");
		this.root = this.parts.root;
		this.rows = new Rows(house, this.parts.rows, (device) => (house.mayChange ? this.tools(device) : null));
		this.parts.add.hidden = !house.mayChange;
		this.parts.add.onclick = () => this.add();
	}

	/** Shows what is so now. */
	update() {
		say(this.parts.reach, reach(this.house));
		this.parts.none.hidden = this.house.devices.size > 0;
		this.rows.update();
	}

	/** Makes the tools of a device. */
	tools({ id, alias }) {
		const { root, rename, remove } = make("tools");
		mark(rename, "aria-label", `Rename ${alias}`);
		mark(remove, "aria-label", `Delete ${alias}`);
		rename.onclick = () => form("rename", this.house.devices.get(id) || {}, async (changes) => {
			await api("PATCH", `/devices/${id}`, changes);
			this.house.refresh();
		});
		remove.onclick = () => this.remove(id);
		return root;
	}

	/** Asks for a new device, adds it and shows its credential, this once. */
	add() {
		form("add", {}, async (changes) => {
			const { alias, mqtt } = await api("POST", "/devices", changes);
			announce(`${alias} was added.`);
			this.house.refresh();
			const { username, password, topics = [] } = mqtt || {};
			return mqtt && (() => copyable(open("secret", { alias, topics: `It may use ${listed(topics)}.` },
				{ server: location.hostname, username, password })));
		});
	}

	/** Asks whether a device goes, and removes it. */
	async remove(id) {
		const alias = this.house.devices.get(id)?.alias || "";
		const sure = await ask({ title: "Delete this device?", action: "Delete for good", alias,
			text: "and all its readings go. This cannot be undone." });
		if (sure) await attempt(async () => {
			await api("DELETE", `/devices/${id}`);
			announce(`${alias} was deleted.`);
			this.house.refresh();
		}, (error) => open("tell", { text: error.message }));
	}
}
