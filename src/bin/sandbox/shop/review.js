// The review form. A second review of an item by the same user replaces the first.

import { ApiError, send } from './api.js';
import { t } from './i18n.js';
import { icon } from './icons.js';
import { session } from './session.js';
import { busy, errorNote, field, h } from './ui.js';

const MAX_CHARS = 4_000;
const RATINGS = [1, 2, 3, 4, 5];

/** The review form of an item. `done` runs after the review is accepted. */
export function reviewForm({ itemID }, done = () => {}) {
  const problem = h('div');
  const stars = RATINGS.map((value) => h('label', { class: 'star' },
    h('input', { type: 'radio', name: `rating-${itemID}`, value, required: true, 'aria-label': t('stars', { value }) }),
    icon('star')));
  const text = h('textarea', { name: 'comment', required: true, maxlength: MAX_CHARS, rows: 3 });
  const submit = h('button', { class: 'primary' }, t('review_send'));
  const sendReview = async () => {
    const body = {
      itemID,
      rating: Number(form.querySelector('input:checked').value),
      comment: text.value,
      username: session.user?.username ?? undefined,
      userId: session.user?.telegramUserId,
      timestamp: new Date().toISOString(),
    };
    try {
      await send('POST', '/comment', { body });
      form.replaceWith(h('p', { class: 'note success', role: 'status' }, t('review_sent')));
      await done();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      problem.replaceChildren(errorNote(error));
    }
  };
  const form = h('form', { onsubmit: (event) => (event.preventDefault(), busy(submit, sendReview)) },
    h('fieldset', { class: 'rating' }, h('legend', {}, t('rating')), h('div', { class: 'picks' }, stars)),
    field(t('review_text'), text), problem, submit);
  return form;
}
