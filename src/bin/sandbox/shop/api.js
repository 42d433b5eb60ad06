// The one place that speaks HTTP with the brand's API: headers, cookies, errors, and waiting while the shop is away.
//
// Everything else calls `read` (a GET that waits an outage out) or `send` (anything once, whose failure the person is told of).

import { preferences } from './preferences.js';

const DEADLINE_MS = 15_000;
const FIRST_PAUSE_S = 1;
const LONGEST_PAUSE_S = 10;

/** What the shop is told by its server about its brand: { brand, title, api, accent, bot, pollMs }. */
export const config = await (await fetch('/config.json')).json();

/** An answer that is no success. `status` 0: no answer came at all. */
export class ApiError extends Error {
  constructor(status, body, retryAfter) {
    super(body.error ?? 'no answer');
    this.status = status;
    this.code = body.code ?? (status === 0 ? 'no_answer' : 'unknown');
    this.body = body;
    this.retryAfter = retryAfter;
  }

  /** Nothing is wrong with the request: the same one may succeed in a moment. */
  get isPassing() {
    return [0, 429, 502, 503, 504].includes(this.status);
  }
}

/** Asks once. Resolves to the JSON of a success and rejects with an ApiError, or as an aborted fetch does. */
export async function send(method, path, { body, signal } = {}) {
  const headers = { 'X-Language': preferences.language };
  if (preferences.region) headers['X-Region'] = preferences.region;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  let response;
  let json;
  try {
    response = await fetch(config.api + path, {
      method,
      headers,
      // The cart, the session and the attempt are cookies of the API, which is another origin than this page.
      credentials: 'include',
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    });
    json = await response.json();
  } catch {
    signal?.throwIfAborted();
    // A body that is no JSON comes from something between the shop and its API.
    throw new ApiError(response?.ok === false ? response.status : 0, {});
  }
  if (response.ok) return json;
  throw new ApiError(response.status, json, Number(response.headers.get('Retry-After')) || undefined);
}

/** A GET that is repeated until the shop is there again. Rejects only with what waiting does not mend. */
export async function read(path, { signal } = {}) {
  const waiting = Symbol(path);
  let pause = FIRST_PAUSE_S;
  try {
    for (;;) {
      try {
        return await send('GET', path, { signal });
      } catch (error) {
        if (!(error instanceof ApiError && error.isPassing)) throw error;
        const seconds = Math.min(error.retryAfter ?? pause, LONGEST_PAUSE_S);
        pause = Math.min(pause * 2, LONGEST_PAUSE_S);
        outage.begin(waiting, error);
        await sleep(seconds * 1000, signal);
      }
    }
  } finally {
    outage.end(waiting);
  }
}

/** Whether requests wait for the shop right now; main.js shows it. */
export const outage = {
  waiting: new Set(),
  listener: () => {},

  begin(who, error) {
    this.waiting.add(who);
    this.listener(error);
  },

  end(who) {
    if (this.waiting.delete(who) && this.waiting.size === 0) this.listener(null);
  },
};

/** Resolves after this time, or when the machine is on line again; rejects when the signal says so. */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const over = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      signal?.removeEventListener('abort', stop);
    };
    const done = () => (over(), resolve());
    const stop = () => (over(), reject(signal.reason));
    const timer = setTimeout(done, ms);
    addEventListener('online', done);
    signal?.addEventListener('abort', stop);
    if (signal?.aborted) stop();
  });
}
