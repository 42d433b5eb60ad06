// HTTP client of the brand's API: headers, cookies, errors and retries.
//
// `read` sends a GET and retries it during an outage; `send` sends any request once.

import { preferences } from './preferences.js';

const TIMEOUT_MS = 15_000;
const FIRST_BACKOFF_S = 1;
const MAX_BACKOFF_S = 10;

/** The settings of the shop: { brand, title, api, accent, bot, pollMs }. */
export const config = await (await fetch('/config.json')).json();

/** An error response. `status` 0: no response. */
export class ApiError extends Error {
  constructor(status, body, retryAfter) {
    super(body.error ?? 'no response');
    this.status = status;
    this.code = body.code ?? (status === 0 ? 'no_answer' : 'unknown');
    this.body = body;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get isTransient() {
    return [0, 429, 502, 503, 504].includes(this.status);
  }
}

/** Sends a request once. Resolves to the JSON of a success; rejects with an ApiError, or as an aborted fetch does. */
export async function send(method, path, { body, signal } = {}) {
  const headers = { 'X-Language': preferences.language };
  if (preferences.region) headers['X-Region'] = preferences.region;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  let response;
  let json;
  try {
    response = await fetch(config.api + path, {
      method,
      headers,
      // The cookies belong to the API, which is another origin than this page.
      credentials: 'include',
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    });
    json = await response.json();
  } catch {
    signal?.throwIfAborted();
    // A body that is not JSON comes from a proxy in front of the API.
    throw new ApiError(response?.ok === false ? response.status : 0, {});
  }
  if (response.ok) return json;
  throw new ApiError(response.status, json, Number(response.headers.get('Retry-After')) || undefined);
}

/** Sends a GET and retries it with backoff until the API is available. Rejects only with permanent errors. */
export async function read(path, { signal } = {}) {
  const request = Symbol(path);
  let backoff = FIRST_BACKOFF_S;
  try {
    for (;;) {
      try {
        return await send('GET', path, { signal });
      } catch (error) {
        if (!(error instanceof ApiError && error.isTransient)) throw error;
        const seconds = Math.min(error.retryAfter ?? backoff, MAX_BACKOFF_S);
        backoff = Math.min(backoff * 2, MAX_BACKOFF_S);
        outage.start(request, error);
        await sleep(seconds * 1000, signal);
      }
    }
  } finally {
    outage.end(request);
  }
}

/** The requests that wait for the API to recover. */
export const outage = {
  waiting: new Set(),
  listener: () => {},

  start(request, error) {
    this.waiting.add(request);
    this.listener(error);
  },

  end(request) {
    if (this.waiting.delete(request) && this.waiting.size === 0) this.listener(null);
  },
};

/** Resolves after this time or when the browser is online again; rejects when the signal aborts. */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const cleanUp = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      signal?.removeEventListener('abort', stop);
    };
    const done = () => (cleanUp(), resolve());
    const stop = () => (cleanUp(), reject(signal.reason));
    const timer = setTimeout(done, ms);
    addEventListener('online', done);
    signal?.addEventListener('abort', stop);
    if (signal?.aborted) stop();
  });
}
