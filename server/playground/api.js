// Calls to this server. Addresses are relative, so that the page works behind a prefix too.

import { events } from "./events.js";

const KEY = "demur-api-key";

/** An answer that is an error; `status` is HTTP's, or 0 where there was none. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Api {
  /** Where the API begins, with `/v1`. */
  get base() {
    return new URL("v1", document.baseURI).href;
  }

  /** The API key; kept for this tab alone, and never put into an address. */
  get key() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  set key(value) {
    if (value === "") sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
  }

  /** GET some JSON; `query` maps names to strings. */
  async get(path, query = {}) {
    const search = new URLSearchParams(query).toString();
    const response = await this.#fetch(search === "" ? path : `${path}?${search}`);
    return response.json();
  }

  /** The chunks of a streamed chat completion, as they come. */
  async *stream(body, signal) {
    const response = await this.#fetch("chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...body, stream: true }),
      signal,
    });
    for await (const data of events(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error.code, chunk.error.message);
      yield chunk;
    }
    throw new ApiError(response.status, "The server ended the answer before it was complete.");
  }

  async #fetch(path, options = {}) {
    const headers = { ...options.headers };
    if (this.key !== "") headers.authorization = `Bearer ${this.key}`;
    const response = await fetch(`${this.base}/${path}`, { ...options, headers }).catch(unreached);
    if (!response.ok) throw new ApiError(response.status, await reason(response));
    return response;
  }
}

function unreached(error) {
  throw error.name === "AbortError" ? error : new ApiError(0, "The server cannot be reached.");
}

/** What an error's body says: OpenAI's shape, or plain text from a proxy. */
async function reason(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return typeof error === "string" ? error : error.message;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}
