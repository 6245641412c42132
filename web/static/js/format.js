// @ts-check
// Numbers and lists as people read them. Pure.

/** Writes a number with a true minus sign, and no minus before zero.
 * @param {number} digits after the point */
function fixed(n, digits) {
	const s = Math.abs(n).toFixed(digits);
	return n < 0 && Number(s) !== 0 ? `−${s}` : s;
}

/** Writes power: "812 W", from 10,000 W "11.2 kW"; "–" if unknown.
 * @param {number | null | undefined} w */
export function watts(w) {
	if (w === null || w === undefined) return "–";
	return Math.abs(w) < 9999.5 ? `${fixed(w, 0)} W` : `${fixed(w / 1000, 1)} kW`;
}

/** Splits the one big number of a page from its unit: "1.14" and "kW".
 * @param {number | null} w */
export function bigWatts(w) {
	if (w === null) return ["–", ""];
	const size = Math.abs(w);
	return size < 999.5 ? [fixed(w, 0), "W"] : [fixed(w / 1000, size < 9999.5 ? 2 : 1), "kW"];
}

/** Writes energy: "4 Wh", "0.92 kWh", "6.8 kWh", "412 kWh"; "–" if unknown.
 * @param {number | null | undefined} kwh */
export function energy(kwh) {
	if (kwh === null || kwh === undefined) return "–";
	const size = Math.abs(kwh);
	if (size > 0 && size < 0.01) return `${fixed(kwh * 1000, 0)} Wh`;
	return `${fixed(kwh, size === 0 ? 0 : size < 2 ? 2 : size < 99.95 ? 1 : 0)} kWh`;
}

/** Writes a share of 1 as "62 %". */
export function percent(share) {
	return `${Math.round(share * 100)} %`;
}

/** Writes a count with its word: "1 device", "9 devices". */
export function count(n, word) {
	return `${n} ${word}${n === 1 ? "" : "s"}`;
}

/** Joins words: "a, b and c".
 * @param {string[]} words */
export function listed(words) {
	return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
