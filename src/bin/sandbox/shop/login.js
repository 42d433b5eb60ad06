// Login with Telegram, in two ways.
//
// The button opens the brand's bot, whose reply has a link back; it works on a device with Telegram. The attempt shows a number
// to choose in the chat, which may be open on another device. Both are detected by polling GET /auth/session.

import { ApiError, config, send, sleep } from './api.js';
import { dateTime, t } from './i18n.js';
import { qrPicture } from './qr.js';
import { logOut, pollSession, session } from './session.js';
import { busy, button, errorNote, h, openDialog, notify } from './ui.js';

/** Resolves to whether the visitor is logged in, after showing the login dialog if necessary. */
export function requireLogin() {
  if (session.user) return Promise.resolve(true);
  return new Promise((resolve) => {
    const closed = new AbortController();
    const content = h('div', { class: 'login' }, loginOptions());
    const dialog = openDialog(t('login_title', { shop: config.title }), content, () => {
      closed.abort();
      resolve(session.user !== null);
    });
    poll(dialog, closed.signal);
  });
}

async function poll(dialog, signal) {
  while (!signal.aborted) {
    try {
      await sleep(config.pollMs, signal);
      await pollSession(signal);
    } catch (error) {
      if (signal.aborted) return;
      // Retried by the next poll.
      if (!(error instanceof ApiError && error.isTransient)) throw error;
    }
    if (session.user) {
      notify(t('logged_in', { name: session.user.displayName }));
      dialog.close();
    }
  }
}

function loginOptions() {
  const attempt = h('div', { class: 'attempt' });
  const start = button(t('login_number'), () => showAttempt(attempt));
  attempt.append(h('p', {}, t('login_elsewhere')), start);
  return [
    h('p', {}, t('login_here')),
    h('a', { class: 'button primary', href: buttonUrl(), target: '_blank', rel: 'noopener', autofocus: true }, t('open_telegram')),
    h('p', { class: 'waiting', role: 'status' }, t('login_waiting')),
    h('hr'),
    attempt,
  ];
}

/** The link that the legacy storefront uses. Telegram drops a parameter this long, and the bot replies to a bare /start with a login link. */
function buttonUrl() {
  const callback = `${config.api}/auth/telegram/callback`;
  return `${config.bot}?start=auth_${encodeURIComponent(callback)}`;
}

async function showAttempt(container) {
  let attempt;
  try {
    attempt = await send('POST', '/auth/telegram/start', { body: {} });
  } catch (error) {
    container.prepend(errorNote(error));
    return;
  }
  const { url, command, code, expiresAt } = attempt;
  const copy = button(t('copy'), async () => {
    await navigator.clipboard.writeText(command);
    notify(t('copied'));
  });
  const again = button(t('login_number_again'), () => showAttempt(container), { class: 'quiet' });
  container.replaceChildren(
    h('p', {}, t('attempt_steps')),
    h('p', { class: 'code', tabindex: '-1' }, h('span', { class: 'label' }, t('attempt_code')), ' ', h('strong', { id: 'login-code' }, code)),
    h('div', { class: 'ways' },
      qrPicture(url, t('attempt_qr')),
      h('div', {},
        h('p', {}, h('a', { href: url, id: 'login-link', target: '_blank', rel: 'noopener' }, t('attempt_link'))),
        h('p', {}, t('attempt_command')),
        h('p', { class: 'row' }, h('code', { id: 'login-command' }, command), copy))),
    h('p', { class: 'hint' }, t('attempt_until', { time: dateTime(expiresAt) }), ' ', again),
  );
  container.querySelector('.code').focus();
}

/** The button of the header: the account, or the login. */
export function accountButton() {
  if (!session.user) return button(t('login'), requireLogin, { class: 'account' });
  const { displayName } = session.user;
  return h('button', { type: 'button', class: 'account', onclick: showAccount, 'aria-label': t('account_of', { name: displayName }) },
    h('span', { class: 'initial', 'aria-hidden': 'true', 'data-initial': displayName[0] }), h('span', { class: 'long' }, displayName));
}

function showAccount() {
  const { displayName, username, expiresAt } = session.user;
  const logOutButton = h('button', { type: 'button', class: 'primary', onclick: (event) => busy(event.currentTarget, async () => {
    await logOut();
    dialog.close();
    notify(t('logged_out'));
  }) }, t('logout'));
  const content = [
    h('p', {}, h('strong', {}, displayName), username && ` @${username}`),
    h('p', { class: 'hint' }, t('session_until', { time: dateTime(expiresAt) })),
    logOutButton,
  ];
  const dialog = openDialog(t('account'), h('div', { class: 'account-panel' }, content));
}
