// The texts of the shop in three languages. The API translates its own.

import { preferences } from './preferences.js';
import { ru } from './texts/ru.js';
import { en } from './texts/en.js';
import { hy } from './texts/hy.js';

const TEXTS = { ru, en, hy };

/** The text of a key in the chosen language, with `{name}` filled in. */
export function t(key, values = {}) {
  const text = TEXTS[preferences.language][key] ?? ru[key];
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** The text of a key, or `otherwise` if the shop has no text for it. */
export function word(key, otherwise) {
  return key in ru ? t(key) : otherwise;
}

/** The message of a failed request: by error code, else by status. */
export function reason(error) {
  const texts = TEXTS[preferences.language];
  const keys = [`error_${error.code}`, `error_${error.status}`, 'error_other'];
  return t(keys.find((key) => key in texts), error.body ?? {});
}

/** A number in the format of the language: 4.5 or 4,5. */
export function number(value) {
  return new Intl.NumberFormat(preferences.language).format(value);
}

/** A date with its time: `28.02.2026, 15:00`. */
export function dateTime(time) {
  return new Intl.DateTimeFormat(preferences.language, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(time));
}

/** A date: `28.02.2026`. */
export function date(time) {
  return new Intl.DateTimeFormat(preferences.language, { dateStyle: 'medium' }).format(new Date(time));
}
