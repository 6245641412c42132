// @ts-check
// Which picture stands for a device. Pure.

/** Words of names, and the pictures that they mean; the first that fits wins. */
const hints = [[/dish ?wash/, "dishwasher"], [/wash|laundry|dryer/, "washer"], [/freez/, "freezer"], [/fridge/, "fridge"],
	[/televis/, "tv"], [/computer|workstation|laptop|server/, "pc"], [/light/, "lamp"], [/coffee/, "kettle"],
	[/stove|microwave|toaster/, "oven"], [/heat|boiler/, "heater"], [/grid|mains/, "meter"]];
const pictures = "plug fridge freezer washer dishwasher tv pc lamp router kettle heater oven iron meter solar battery relay".split(" ");

/** Chooses the picture of a device, by the name of its symbol.
 * @param {import("./house.js").Device} device */
export function pictureOf({ icon, role, alias, relay }) {
	const name = `${icon} ${role === "consumer" ? "" : role} ${alias.slice(0, 200)}`.toLowerCase();
	const words = name.split(/[^a-z]+/), hint = hints.find(([pattern]) => /** @type {RegExp} */ (pattern).test(name));
	return pictures.find((p) => p === icon) || hint?.[1] || pictures.find((p) => words.includes(p)) || (relay ? "relay" : "plug");
}
