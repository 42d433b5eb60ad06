// The session: loaded at the start and before it expires, polled during a login.

import { ApiError, read, send } from './api.js';

const REFRESH_BEFORE_MS = 60_000;
const listeners = new Set();
let refresh;

/** `user` is `AuthSession` of the API, or `null` without a login. */
export const session = { user: null };

/** Calls `listener` after every login and logout. */
export function onSession(listener) {
  listeners.add(listener);
}

/** Loads the session, waiting until the API is available. */
export async function loadSession() {
  await update(() => read('/auth/session'));
}

/** Resolves once the session is loaded. The response sets the visitor cookie; a concurrent cart request would receive another one. */
export const sessionKnown = loadSession();

/** Polls once during a login. The response sets the session cookie of an approved login. */
export async function pollSession(signal) {
  await update(() => send('GET', '/auth/session', { signal }));
}

export async function logOut() {
  await send('POST', '/auth/logout', { body: {} });
  setUser(null);
}

async function update(request) {
  try {
    const response = await request();
    // An ended session is reported once with `active: false`.
    setUser(response.active ? response : null);
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 401)) throw error;
    setUser(null);
  }
}

function setUser(user) {
  const hasChanged = user?.sessionId !== session.user?.sessionId;
  session.user = user;
  clearTimeout(refresh);
  if (user) {
    const inMs = Math.max(Date.parse(user.expiresAt) - Date.now() - REFRESH_BEFORE_MS, REFRESH_BEFORE_MS);
    refresh = setTimeout(loadSession, inMs);
  }
  if (hasChanged) for (const listener of listeners) listener();
}
