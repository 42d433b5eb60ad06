// The shop's own words in three languages. What the API sends is translated there already.

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

/** The same for a word that the shop may not know: else as it came. */
export function word(key, otherwise) {
  return key in ru ? t(key) : otherwise;
}

/** Why a request failed, for a person: by the error's code, else by its status. */
export function reason(error) {
  const texts = TEXTS[preferences.language];
  const keys = [`error_${error.code}`, `error_${error.status}`, 'error_other'];
  return t(keys.find((key) => key in texts), error.body ?? {});
}

/** 4.5, or 4,5 where people write it so. */
export function number(value) {
  return new Intl.NumberFormat(preferences.language).format(value);
}

/** A moment as people read it: `28.02.2026, 15:00`. */
export function moment(time) {
  return new Intl.DateTimeFormat(preferences.language, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(time));
}

/** A day as people read it. */
export function day(time) {
  return new Intl.DateTimeFormat(preferences.language, { dateStyle: 'medium' }).format(new Date(time));
}
