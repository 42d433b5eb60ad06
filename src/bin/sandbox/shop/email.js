// The form for the receipt email.

import { ApiError, send } from './api.js';
import { t } from './i18n.js';
import { session } from './session.js';
import { busy, errorNote, field, h } from './ui.js';

/** The form for the address of the receipt email, replaced by a message once the email is queued. */
export function emailForm({ lines }) {
  const problem = h('div');
  const address = h('input', { type: 'email', name: 'email', required: true, autocomplete: 'email' });
  const submit = h('button', { class: 'primary' }, t('email_send'));
  const sendEmail = async () => {
    const items = lines.map(({ itemID, name, price, currency }) => ({ itemID, name, price, currency }));
    const body = { email: address.value.trim(), telegramUserId: String(session.user.telegramUserId), items };
    try {
      await send('POST', '/purchase-email', { body });
      form.replaceWith(h('p', { class: 'note success', role: 'status' }, t('email_sent', { email: body.email })));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      problem.replaceChildren(errorNote(error));
    }
  };
  const form = h('form', { onsubmit: (event) => (event.preventDefault(), busy(submit, sendEmail)) }, field(t('email'), address), problem, submit);
  return form;
}
