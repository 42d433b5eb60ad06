// Small pieces that every page is built of: elements, messages, dialogs. Text from outside always becomes a text node.

import { ApiError } from './api.js';
import { reason, t } from './i18n.js';

const MESSAGE_MS = 4_000;

/** An element: `h('a', { href: '/', class: 'button', onclick: f }, 'text', node)`. Empty attributes and children are left out. */
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

/** Says something in passing; screen readers hear it. */
export function say(text, kind = 'info') {
  const message = h('p', { class: `message ${kind}` }, text);
  const messages = document.getElementById('messages');
  // Outside of an open dialog nothing can be read.
  const place = document.querySelector('dialog[open]') ?? document.body;
  if (messages.parentElement !== place) place.append(messages);
  messages.append(message);
  setTimeout(() => message.remove(), MESSAGE_MS);
}

/** Says why something did not work. What is no answer of the API is a mistake in this program, and shown as one. */
export function sayError(error) {
  if (!(error instanceof ApiError)) throw error;
  say(reason(error), 'error');
}

/** The sentence of an error, and what a developer wants to know of it. */
export function errorNote(error) {
  const technical = [error.status || '', error.code, error.message].filter(Boolean).join(' · ');
  return h('div', { class: 'note error', role: 'alert' }, h('p', {}, reason(error)), h('p', { class: 'technical', lang: 'en' }, technical));
}

/** Runs the work of a button, which cannot be pressed again meanwhile; an error is said. */
export async function busy(button, work) {
  if (button.getAttribute('aria-disabled') === 'true') return;
  button.setAttribute('aria-disabled', 'true');
  try {
    await work();
  } catch (error) {
    sayError(error);
  } finally {
    button.removeAttribute('aria-disabled');
  }
}

/** A button with its work. */
export function button(text, work, attributes = {}) {
  return h('button', { type: 'button', ...attributes, onclick: (event) => busy(event.currentTarget, work) }, text);
}

/** Opens a dialog with a heading and a way out. Focus goes into it and comes back by itself; `closed` runs when it is over. */
export function openDialog(title, content, closed = () => {}) {
  const heading = h('h2', { id: 'dialog-title' }, title);
  const close = h('button', { type: 'button', class: 'close', 'aria-label': t('close'), onclick: () => dialog.close() }, '✕');
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

/** A form's field under its label. */
export function field(label, input) {
  return h('label', { class: 'field' }, h('span', {}, label), input);
}

/** Pictures of the catalogue: decoration beside a name, so without words of their own unless told. */
export function picture(url = '/icon.svg', words = '') {
  // There is nothing to wait with for a picture that is in its own address.
  return h('img', { src: url, alt: words, loading: url.startsWith('data:') ? null : 'lazy', decoding: 'async' });
}
