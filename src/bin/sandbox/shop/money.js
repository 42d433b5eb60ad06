// Amounts of money in integer kopecks: floating-point roubles are inexact.

import { number, t } from './i18n.js';

/** Roubles of the API in kopecks: 89990.5 is 8999050. */
export function kopecks(roubles) {
  return Math.round(roubles * 100);
}

/** Kopecks in roubles of the API. */
export function roubles(sum) {
  return sum / 100;
}

/** What is paid for one unit: the sale price, else price × (100 − discount) / 100, rounded half up. */
export function unitKopecks(item) {
  if (item.salePrice) return kopecks(item.salePrice);
  return Math.floor((kopecks(item.price) * (100 - item.discount) + 50) / 100);
}

/** The total of the items in a cart. */
export function totalKopecks(items) {
  return items.reduce((sum, item) => sum + unitKopecks(item) * item.quantity, 0);
}

/** `1 234 ₽`; with kopecks only if there are any. */
export function money(sum) {
  return t('roubles', { sum: number(roubles(sum), sum % 100 === 0 ? 0 : 2) });
}
