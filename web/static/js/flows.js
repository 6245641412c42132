// @ts-check
// Where the house's power goes: sums over devices with their roles. Pure.

/** @typedef {import("./house.js").Device} Device */
/** @typedef {Map<number, Device>} Devices */

/** Reports whether a device counts on its own: a consumer below no other.
 * @param {Devices} devices */
export function isTop(device, devices) {
	let d = device;
	for (let depth = 0; d && depth < 16; depth++) {
		if ((d.role === "consumer") !== (depth === 0)) return false;
		d = devices.get(d.parent_id || 0);
	}
	return true;
}

/** Returns what a device draws now, null if it does not tell. */
export function drawn(device) {
	return device.online && typeof device.power_w === "number" ? device.power_w : null;
}

/** Adds up the house, in power or energy. With a grid meter the house is what
 * comes in, less what solar and battery feed in (which is negative); without, it
 * is what its consumers draw. The total is null where it cannot be known.
 * @param {[Device, number | null][]} values
 * @param {Devices} devices */
export function house(values, devices) {
	const metered = [...devices.values()].some((d) => d.role === "grid");
	let grid = null, consumers = null, fed = 0;
	for (const [device, value] of values) {
		if (value === null) continue;
		if (device.role === "grid") grid = (grid ?? 0) + value;
		else if (device.role !== "consumer") fed += value;
		else if (isTop(device, devices)) consumers = (consumers ?? 0) + value;
	}
	return { total: metered ? grid === null ? null : grid - fed : consumers, consumers: consumers ?? 0, metered };
}

/** Splits the house's power of this moment into the largest consumers, the
 * others and what is unknown. A silent meter must not empty the page: then the
 * total is that of the devices, and marked as such.
 * @param {Devices} devices
 * @param {number} most how many devices stand alone */
export function split(devices, most) {
	const all = [...devices.values()];
	const { total, consumers, metered } = house(all.map((d) => [d, drawn(d)]), devices);
	const parts = all.filter((d) => isTop(d, devices))
		.map((device) => ({ device, watts: drawn(device) ?? 0 }))
		.filter((p) => p.watts >= 0.5)
		.sort((a, b) => b.watts - a.watts);
	// One device too many is shown itself, not as "1 other".
	const others = parts.length > most + 1 ? parts.splice(most) : [];
	const silent = total === null && parts.length > 0;
	return {
		total: silent ? consumers : total, metered, silent, parts, others: others.length,
		othersWatts: others.reduce((sum, p) => sum + p.watts, 0),
		unknown: metered && total !== null ? Math.max(0, total - consumers) : 0,
	};
}
