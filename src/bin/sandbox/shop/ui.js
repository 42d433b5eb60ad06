// Building blocks of the pages: elements, messages, dialogs. Text always becomes a text node.

import { ApiError } from './api.js';
import { reason, t } from './i18n.js';
import { icon } from './icons.js';

const MESSAGE_MS = 4_000;

/** Creates an element: `h('a', { href: '/', class: 'button', onclick: f }, 'text', node)`. Empty attributes and children are omitted. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Shows a temporary message, which screen readers announce. */
export function notify(text, kind = 'info') {
  const message = h('p', { class: `message ${kind}` }, text);
  const messages = document.getElementById('messages');
  // Content outside of an open modal dialog is inert.
  const parent = document.querySelector('dialog[open]') ?? document.body;
  if (messages.parentElement !== parent) parent.append(messages);
  messages.append(message);
  setTimeout(() => message.remove(), MESSAGE_MS);
}

/** Shows the message of an API error. Any other error is a bug and thrown again. */
export function notifyError(error) {
  if (!(error instanceof ApiError)) throw error;
  notify(reason(error), 'error');
}

/** The message of an error and its technical details. */
export function errorNote(error) {
  const technical = [error.status || '', error.code, error.message].filter(Boolean).join(' · ');
  return h('div', { class: 'note error', role: 'alert' }, h('p', {}, reason(error)), h('p', { class: 'technical', lang: 'en' }, technical));
}

/** Runs the action of a button, disabled meanwhile; shows an error. */
export async function busy(button, action) {
  if (button.getAttribute('aria-disabled') === 'true') return;
  button.setAttribute('aria-disabled', 'true');
  try {
    await action();
  } catch (error) {
    notifyError(error);
  } finally {
    button.removeAttribute('aria-disabled');
  }
}

/** A button with its action. */
export function button(text, action, attributes = {}) {
  return h('button', { type: 'button', ...attributes, onclick: (event) => busy(event.currentTarget, action) }, text);
}

/** Opens a modal dialog with a heading and a close button. `closed` runs when it is closed. */
export function openDialog(title, content, closed = () => {}) {
  const heading = h('h2', { id: 'dialog-title' }, title);
  const close = h('button', { type: 'button', class: 'close', 'aria-label': t('close'), onclick: () => dialog.close() }, icon('close'));
  const dialog = h('dialog', { 'aria-labelledby': 'dialog-title' }, h('header', {}, heading, close), content);
  dialog.addEventListener('close', () => {
    document.body.append(document.getElementById('messages'));
    dialog.remove();
    closed();
  });
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** A form field with its label. */
export function field(label, input) {
  return h('label', { class: 'field' }, h('span', {}, label), input);
}

/** A picture of the catalogue. Without alternative text it is decorative. */
export function picture(url = '/icon.svg', alt = '') {
  // A data: URL needs no lazy loading.
  return h('img', { src: url, alt, loading: url.startsWith('data:') ? null : 'lazy', decoding: 'async' });
}
