// Sums of money, counted in whole kopecks: 0.1 + 0.2 is not 0.3 in JavaScript, and the API compares to the kopeck.

import { preferences } from './preferences.js';

/** 89990.5 roubles, as the API has them, are 8999050 kopecks. */
export function kopecks(roubles) {
  return Math.round(roubles * 100);
}

/** What the API wants: roubles, kopecks after the point. */
export function roubles(sum) {
  return sum / 100;
}

/** What is paid for one piece: price × (100 − discount) / 100, half a kopeck rounded up. */
export function pieceKopecks(item) {
  return Math.floor((kopecks(item.price) * (100 - item.discount) + 50) / 100);
}

/** What is paid for the pieces in a cart. */
export function totalKopecks(items) {
  return items.reduce((sum, item) => sum + pieceKopecks(item) * item.quantity, 0);
}

/** `1 234 ₽`; kopecks only where there are any. */
export function money(sum) {
  const digits = sum % 100 === 0 ? 0 : 2;
  const format = { style: 'currency', currency: 'RUB', currencyDisplay: 'narrowSymbol', minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(preferences.language, format).format(roubles(sum));
}
