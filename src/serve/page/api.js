/** The server's HTTP API: requests, their errors, and the events of a stream. Knows nothing of the page. */

import { session } from "./state.js";

/** The server's answer was an error. `param` names the field of the request that it concerns, or is null. */
export class ApiError extends Error {
  constructor(status, message, param = null) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

/** The server did not answer, or stopped in the middle of an answer. */
export class Unreachable extends Error {}

/** Fires `lost` when a request finds no server, and `answered` when one does. */
export const connection = new EventTarget();

/** How a key is asked for; set by the page. Resolves to a key or to null. */
export const keys = { ask: async (_wrong) => null };

const wait = (milliseconds, signal) =>
  new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });

/** Seconds of a Retry-After header, which is a number or a date; 2 without one, 60 at most. */
function retryAfter(response) {
  const header = response.headers.get("Retry-After") ?? "";
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(60, Math.max(1, seconds)) : 2;
}

async function errorOf(response) {
  try {
    const { error } = await response.json();
    return new ApiError(response.status, error.message, error.param);
  } catch {
    return new ApiError(response.status, `The server answered with status ${response.status}.`);
  }
}

function unreachable(error, signal) {
  if (signal?.aborted) return error;
  connection.dispatchEvent(new Event("lost"));
  return new Unreachable("The server does not answer.", { cause: error });
}

/**
 * One request, repeated while the server is busy (429) and once for each key that is given (401).
 * @param {string} path
 * @param {object | null} body null for GET
 * @param {{ signal?: AbortSignal, onBusy?: (seconds: number) => void }} [options]
 * @returns {Promise<Response>} whose status is 200
 */
async function request(path, body, { signal, onBusy } = {}) {
  for (;;) {
    const key = session.load("key", null);
    const headers = {
      ...(body && { "Content-Type": "application/json" }),
      ...(key && { Authorization: `Bearer ${key}` }),
    };
    let response;
    try {
      response = await fetch(path, {
        method: body ? "POST" : "GET",
        headers,
        body: body && JSON.stringify(body),
        signal,
        cache: "no-store",
      });
    } catch (error) {
      throw unreachable(error, signal);
    }
    connection.dispatchEvent(new Event("answered"));
    if (response.ok) return response;
    if (response.status === 429) {
      const seconds = retryAfter(response);
      onBusy?.(seconds);
      await wait(1000 * seconds, signal);
    } else if (response.status === 401) {
      const given = await keys.ask(key !== null);
      if (given === null) throw await errorOf(response);
      session.save("key", given);
    } else {
      throw await errorOf(response);
    }
  }
}

/** A request whose answer is one JSON object. */
export async function call(path, body = null, options = {}) {
  const response = await request(path, body, options);
  try {
    return await response.json();
  } catch (error) {
    throw unreachable(error, options.signal);
  }
}

/** Whether the server answers at all, whatever it says. */
export async function isAlive() {
  try {
    await fetch("/health", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    return true;
  } catch {
    return false;
  }
}

/**
 * The choices of a streamed completion, as they come.
 * @param {object} body of POST /v1/completions, without `stream`
 */
export async function* stream(body, options = {}) {
  const response = await request("/v1/completions", { ...body, stream: true }, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw unreachable(error, options.signal);
      });
      if (done) throw unreachable(null, options.signal);
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue;
        const data = line.slice(5).trim();
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new ApiError(200, event.error.message, event.error.param);
        for (const choice of event.choices ?? []) yield choice;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
