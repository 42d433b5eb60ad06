// Logging in with Telegram, in two ways that end in the same session.
//
// The button opens the brand's bot, whose answer has a link back; it works on the device that has Telegram. The attempt shows a
// number to be chosen in the chat, which may run on another device. Both are noticed by polling GET /auth/session.

import { ApiError, config, send, sleep } from './api.js';
import { moment, t } from './i18n.js';
import { qrPicture } from './qr.js';
import { logOut, pollSession, session } from './session.js';
import { busy, button, errorNote, h, openDialog, say } from './ui.js';

/** Resolves to whether somebody is logged in: at once, or when the dialog is over. */
export function requireLogin() {
  if (session.user) return Promise.resolve(true);
  return new Promise((resolve) => {
    const over = new AbortController();
    const content = h('div', { class: 'login' }, ways());
    const dialog = openDialog(t('login_title', { shop: config.title }), content, () => {
      over.abort();
      resolve(session.user !== null);
    });
    poll(dialog, over.signal);
  });
}

async function poll(dialog, signal) {
  while (!signal.aborted) {
    try {
      await sleep(config.pollMs, signal);
      await pollSession(signal);
    } catch (error) {
      if (signal.aborted) return;
      // The next question may be answered again.
      if (!(error instanceof ApiError && error.isPassing)) throw error;
    }
    if (session.user) {
      say(t('logged_in', { name: session.user.displayName }));
      dialog.close();
    }
  }
}

function ways() {
  const attempt = h('div', { class: 'attempt' });
  const begin = button(t('login_number'), () => showAttempt(attempt));
  attempt.append(h('p', {}, t('login_elsewhere')), begin);
  return [
    h('p', {}, t('login_here')),
    h('a', { class: 'button primary', href: buttonUrl(), target: '_blank', rel: 'noopener', autofocus: true }, t('open_telegram')),
    h('p', { class: 'waiting', role: 'status' }, t('login_waiting')),
    h('hr'),
    attempt,
  ];
}

/** What today's front opens. Telegram drops so long a parameter, and the bot answers a bare /start with a link all the same. */
function buttonUrl() {
  const callback = `${config.api}/auth/telegram/callback`;
  return `${config.bot}?start=auth_${encodeURIComponent(callback)}`;
}

async function showAttempt(place) {
  let attempt;
  try {
    attempt = await send('POST', '/auth/telegram/start', { body: {} });
  } catch (error) {
    place.prepend(errorNote(error));
    return;
  }
  const { url, command, code, expiresAt } = attempt;
  const copy = button(t('copy'), async () => {
    await navigator.clipboard.writeText(command);
    say(t('copied'));
  });
  const again = button(t('login_number_again'), () => showAttempt(place), { class: 'quiet' });
  place.replaceChildren(
    h('p', {}, t('attempt_steps')),
    h('p', { class: 'code', tabindex: '-1' }, h('span', { class: 'label' }, t('attempt_code')), ' ', h('strong', { id: 'login-code' }, code)),
    h('div', { class: 'ways' },
      qrPicture(url, t('attempt_qr')),
      h('div', {},
        h('p', {}, h('a', { href: url, id: 'login-link', target: '_blank', rel: 'noopener' }, t('attempt_link'))),
        h('p', {}, t('attempt_command')),
        h('p', { class: 'row' }, h('code', { id: 'login-command' }, command), copy))),
    h('p', { class: 'hint' }, t('attempt_until', { time: moment(expiresAt) }), ' ', again),
  );
  place.querySelector('.code').focus();
}

/** The button of the header: who is logged in, or the way to it. */
export function accountButton() {
  if (!session.user) return button(t('login'), requireLogin, { class: 'account' });
  const { displayName } = session.user;
  return h('button', { type: 'button', class: 'account', onclick: showAccount, 'aria-label': t('account_of', { name: displayName }) },
    h('span', { class: 'initial', 'aria-hidden': 'true' }, displayName[0]), h('span', { class: 'long' }, displayName));
}

function showAccount() {
  const { displayName, username, expiresAt } = session.user;
  const leave = h('button', { type: 'button', class: 'primary', onclick: (event) => busy(event.currentTarget, async () => {
    await logOut();
    dialog.close();
    say(t('logged_out'));
  }) }, t('logout'));
  const content = [
    h('p', {}, h('strong', {}, displayName), username && ` @${username}`),
    h('p', { class: 'hint' }, t('session_until', { time: moment(expiresAt) })),
    leave,
  ];
  const dialog = openDialog(t('account'), h('div', { class: 'account-panel' }, content));
}
