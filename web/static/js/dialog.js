// @ts-check
// Questions and forms over the page, in the browser's own dialog.

import { make, say, tell, flag } from "./dom.js";
import { attempt } from "./api.js";

/** Opens a dialog; when it is closed it is gone, and focus returns.
 * @param {string} name of its template
 * @param {Record<string, string>} [texts] of its parts
 * @param {Record<string, string>} [values] of its form */
export function open(name, texts = {}, values = {}) {
	const parts = make(name), dialog = parts.root, { elements } = dialog.querySelector("form");
	tell(parts, texts);
	for (const [field, value] of Object.entries(values)) elements[field].value = value;
	dialog.onclose = () => dialog.remove();
	document.body.append(dialog);
	dialog.showModal();
	return parts;
}

/** Asks before something happens that people may regret.
 * @param {Record<string, string>} texts title, alias, text and action
 * @returns {Promise<boolean>} */
export function ask(texts) {
	const { root } = open("ask", texts);
	return new Promise((resolve) => root.addEventListener("close", () => resolve(root.returnValue === "yes")));
}

/** Opens a form about a device. It stays, with the faults beside their fields,
 * until send succeeds.
 * @param {string} name of its template
 * @param {Record<string, any>} old the device as it is
 * @param {(changes: Record<string, string>) => Promise<any>} send is given what differs; what it returns is called at the end */
export function form(name, old, send) {
	const { root, fault, submit } = open(name), node = root.querySelector("form");
	const fields = [...node.elements].filter((f) => f.name);
	const blame = (field, text) => {
		const place = node.querySelector(`[data-for="${field}"]`);
		if (place) say(place, text);
		flag(node.elements[field], "aria-invalid", text);
	};
	for (const f of fields) if (old[f.name]) f.value = old[f.name];
	node.onsubmit = async (e) => {
		if (e.submitter?.value === "cancel") return;
		e.preventDefault();
		submit.disabled = true;
		say(fault, "");
		for (const f of fields) blame(f.name, "");
		const changed = fields.filter((f) => f.value.trim() !== (old[f.name] ?? ""));
		await attempt(async () => {
			const next = await send(Object.fromEntries(changed.map((f) => [f.name, f.value.trim()])));
			root.close();
			next?.();
		}, (error) => {
			say(fault, error.message);
			for (const { field, detail } of error.fields || []) if (node.elements[field]) blame(field, detail);
		});
		submit.disabled = false;
	};
}

/** Makes the buttons of a dialog copy the value beside them, by the older command:
 * without TLS browsers give pages no clipboard.
 * @param {Record<string, any>} parts of the dialog */
export function copyable({ root, done }) {
	for (const button of root.querySelectorAll(".copy button")) {
		const input = button.previousElementSibling;
		button.onclick = () => {
			input.select();
			say(done, document.execCommand("copy") ? "Copied." : "It is selected: copy it with the keyboard.");
		};
	}
}
