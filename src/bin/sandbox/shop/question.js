// The questions about an item: the answered ones, votes on them, and a form for a new one.

import { ApiError, read, send } from './api.js';
import { t } from './i18n.js';
import { icon } from './icons.js';
import { busy, button, errorNote, field, h } from './ui.js';

const MAX_CHARS = 1_000;

/** The questions of an item, with votes, and the form. Leaving the page aborts what `signal` belongs to. */
export function questionList(item, signal) {
  const list = h('div', {});
  const show = ({ questions = [] }) => list.replaceChildren(...(questions.length > 0 ? questions.map(answered) : [h('p', {}, t('questions_none'))]));
  const answered = ({ id, question, answer, upvotes, downvotes }) => h('article', { class: 'question' },
    h('h3', {}, question),
    h('p', { class: 'text' }, answer || t('no_answer')),
    h('div', { class: 'votes' }, vote(id, question, 'up', upvotes), vote(id, question, 'down', downvotes)));
  const vote = (id, question, direction, votes) => button([icon(direction), String(votes)], async () => {
    await send('POST', '/question/vote', { body: { itemID: item.itemID, question: id, vote: direction }, signal });
    show(await read(`/item/${item.itemID}`, { signal }));
    list.querySelector(`[data-vote="${direction}-${id}"]`)?.focus();
  }, { class: 'vote', 'data-vote': `${direction}-${id}`, 'aria-label': t(`vote_${direction}`, { votes, question }) });
  show(item);
  return [list, h('details', { class: 'write' }, h('summary', {}, t('question_ask')), questionForm(item))];
}

/** The form for a question, replaced by a message once the shop has it. */
function questionForm({ itemID }) {
  const problem = h('div');
  const text = h('textarea', { name: 'question', required: true, maxlength: MAX_CHARS, rows: 2 });
  const submit = h('button', { class: 'primary' }, t('question_send'));
  const sendQuestion = async () => {
    try {
      await send('POST', '/question', { body: { itemID, question: text.value } });
      form.replaceWith(h('p', { class: 'note success', role: 'status' }, t('question_sent')));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      problem.replaceChildren(errorNote(error));
    }
  };
  const form = h('form', { onsubmit: (event) => (event.preventDefault(), busy(submit, sendQuestion)) }, field(t('question_text'), text), problem, submit);
  return form;
}
