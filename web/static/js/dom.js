// @ts-check
// Building and changing the document. Markup is in the templates of index.html;
// text goes in as text, never as markup.

const sprite = new URL("../img/icons.svg", import.meta.url).pathname;

/** Makes what a template holds: its root, and its parts by their data-part.
 * @param {string} name the template's id after "t-"
 * @returns {Record<string, any>} */
export function make(name) {
	const template = /** @type {HTMLTemplateElement} */ (document.getElementById(`t-${name}`));
	const root = /** @type {Element} */ (document.importNode(template.content, true).firstElementChild);
	const parts = [...root.querySelectorAll("[data-part]")].map((n) => [n.getAttribute("data-part"), n]);
	return { root, ...Object.fromEntries(parts) };
}

/** Makes an element with children as put takes them.
 * @param {string} spec tag and classes, such as "p.card.wide"
 * @returns {any} */
export function el(spec, ...children) {
	const [tag, ...classes] = spec.split("."), node = document.createElement(tag);
	node.className = classes.join(" ");
	put(node, ...children);
	return node;
}

/** Replaces what is inside a node.
 * @param {...any} children text and nodes; what is not there is left out */
export function put(node, ...children) {
	node.replaceChildren(...children.flatMap((c) => c || []));
}

/** Sets a node's text, touching the document only if it differs. */
export function say(node, text) {
	if (node.textContent !== text) node.textContent = text;
}

/** Sets the texts of parts.
 * @param {Record<string, Node>} parts
 * @param {Record<string, string>} texts by the parts' names */
export function tell(parts, texts) {
	for (const [name, text] of Object.entries(texts)) say(parts[name], text);
}

/** Sets or, with null, removes an attribute, only if it differs.
 * @param {string | null} value */
export function mark(node, name, value) {
	if (value === null) node.removeAttribute(name);
	else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Sets an attribute to "true", or removes it. */
export function flag(node, name, on) {
	mark(node, name, on ? "true" : null);
}

/** Makes the node of a name that people gave, kept apart from the text around it. */
export function named(text) {
	const node = el("bdi", text);
	node.dir = "auto";
	return node;
}

/** Shows a picture of img/icons.svg. */
export function draw(use, id) {
	mark(use, "href", `${sprite}#${id}`);
}

/** Tells users of screen readers about a change of state. */
export function announce(text) {
	say(document.getElementById("announce"), text);
}

/** Shows in a place that its content could not be loaded. */
export function failure(place, error, retry) {
	const again = el("button.button", "Try again"), box = el("div.failure", el("p", error.message), again);
	again.onclick = retry;
	box.role = "alert";
	put(place, box);
}
