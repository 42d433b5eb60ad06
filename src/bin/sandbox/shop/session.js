// Who is logged in: asked at the start, before the session ends, and every three seconds while somebody logs in.

import { ApiError, read, send } from './api.js';

const REFRESH_BEFORE_MS = 60_000;
const listeners = new Set();
let refresh;

/** `user` is the document's AuthSession, or `null` for a visitor. */
export const session = { user: null };

/** Calls `listener` whenever somebody came or went. */
export function onSession(listener) {
  listeners.add(listener);
}

/** At the start: waits until the API says who this is. */
export async function loadSession() {
  await take(() => read('/auth/session'));
}

/** Settled once the API was asked. Its answer hands out the visitor's cookie; a cart asked for meanwhile would be given another. */
export const sessionKnown = loadSession();

/** Once, while a login is waited for. The answer also carries the cookie of a login that was approved. */
export async function pollSession(signal) {
  await take(() => send('GET', '/auth/session', { signal }));
}

export async function logOut() {
  await send('POST', '/auth/logout', { body: {} });
  become(null);
}

async function take(ask) {
  try {
    const answer = await ask();
    // A session that ended is answered with `active: false` once more.
    become(answer.active ? answer : null);
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 401)) throw error;
    become(null);
  }
}

function become(user) {
  const isOther = user?.sessionId !== session.user?.sessionId;
  session.user = user;
  clearTimeout(refresh);
  if (user) {
    const inMs = Math.max(Date.parse(user.expiresAt) - Date.now() - REFRESH_BEFORE_MS, REFRESH_BEFORE_MS);
    refresh = setTimeout(loadSession, inMs);
  }
  if (isOther) for (const listener of listeners) listener();
}
