// The price of an item, with its discount.

import { t } from './i18n.js';
import { kopecks, money, unitKopecks } from './money.js';
import { h } from './ui.js';

/** The price to pay, and the price before the discount. */
export function priceTag(item) {
  const now = h('strong', {}, money(unitKopecks(item)));
  if (unitKopecks(item) === kopecks(item.price)) return h('span', { class: 'price' }, now);
  const before = h('s', {}, h('span', { class: 'sr' }, t('price_before'), ' '), money(kopecks(item.price)));
  return h('span', { class: 'price' }, now, before);
}
