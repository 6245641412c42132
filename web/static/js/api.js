// @ts-check
// Talking to the gateway's REST API. Faults come in words for people.

/** Gets an event "signedout" when the gateway asks for a login. */
export const gate = new EventTarget();

/** Sends a request and returns the decoded answer, null if it has none. An error
 * is in words for people, and has the status (0 for no answer) and the fields that
 * were wrong.
 * @param {string} method
 * @param {string} path below /api/v1
 * @param {any} [body] sent as JSON
 * @param {AbortSignal} [signal] */
export async function api(method, path, body, signal) {
	const headers = { Accept: "application/json", "Content-Type": "application/json" };
	const fault = (status, text, fields = []) => Object.assign(new Error(text), { status, fields });
	const response = await fetch(`/api/v1${path}`, {
		method, headers, signal, cache: "no-store", body: body && JSON.stringify(body),
	}).catch((error) => {
		throw signal?.aborted ? error : fault(0, "The gateway cannot be reached. It may be restarting, " +
			"or this device has left the home network.");
	});
	const { ok, status } = response, answer = await response.json().catch(() => null);
	if (ok) return answer;
	if (status === 401 && path !== "/login") gate.dispatchEvent(new Event("signedout"));
	throw fault(status, status === 429 ? "Too many tries. Wait a minute, then try again."
		: answer?.detail || answer?.title || `The gateway answered with fault ${status}. Try again.`, answer?.errors);
}

/** Sends a GET.
 * @param {AbortSignal} [signal] */
export function get(path, signal) {
	return api("GET", path, undefined, signal);
}

/** Does something that may fail; what nobody waits for any more is no failure.
 * @param {() => Promise<any>} act
 * @param {(error: any, retry: () => void) => void} [fail] */
export async function attempt(act, fail) {
	try {
		await act();
	} catch (error) {
		if (error.name !== "AbortError") fail?.(error, () => attempt(act, fail));
	}
}
