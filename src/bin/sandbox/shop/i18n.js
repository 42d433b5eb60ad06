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

// The formats of numbers and dates are texts too: not every browser has the locale data of Armenian that `Intl` needs.

/** A number that is not negative, in the format of the language: `1,234.5` or `1 234,5`. */
export function number(value, digits) {
  const [whole, fraction] = (digits === undefined ? String(value) : value.toFixed(digits)).split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, t('thousands_mark'));
  return fraction ? grouped + t('decimal_mark') + fraction : grouped;
}

/** A date: `28 февраля 2026 г.` */
export function date(time) {
  const moment = new Date(time);
  const month = t('months').split(' ')[moment.getMonth()];
  return t('date', { day: moment.getDate(), month, year: moment.getFullYear() });
}

/** A date with its time: `28 февраля 2026 г., 15:00` */
export function dateTime(time) {
  const moment = new Date(time);
  const [hours, minutes] = [moment.getHours(), moment.getMinutes()].map((value) => String(value).padStart(2, '0'));
  return `${date(time)}, ${hours}:${minutes}`;
}
