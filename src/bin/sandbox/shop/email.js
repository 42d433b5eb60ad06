// After payment: where the letter with the order goes.

import { ApiError, send } from './api.js';
import { t } from './i18n.js';
import { session } from './session.js';
import { busy, errorNote, field, h } from './ui.js';

/** A form that asks for the address and becomes a sentence once the letter is on its way. */
export function emailForm({ lines }) {
  const problem = h('div');
  const address = h('input', { type: 'email', name: 'email', required: true, autocomplete: 'email' });
  const submit = h('button', { class: 'primary' }, t('email_send'));
  const sendIt = async () => {
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
  const form = h('form', { onsubmit: (event) => (event.preventDefault(), busy(submit, sendIt)) }, field(t('email'), address), problem, submit);
  return form;
}
