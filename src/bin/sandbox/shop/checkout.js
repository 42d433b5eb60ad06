// What is being paid for, from the cart to the thanks: kept in sessionStorage, so that a reload or a retry pays the same order.
//
// `orderId` is the document's siteorderID. The API makes one payment of an order however often it is sent, so the same
// checkout may be sent again whenever an answer got lost; another cart needs another order.

import { pieceKopecks, roubles, totalKopecks } from './money.js';

const KEY = 'checkout';

/** The checkout of this tab, or `null`: { orderId, amount, lines, qrId, status }. */
export function currentCheckout() {
  return JSON.parse(sessionStorage.getItem(KEY));
}

/** A checkout of these items of the cart: the one that was begun already if it is still for the same. */
export function beginCheckout(items) {
  const lines = items.map((item) => ({
    itemID: item.itemID,
    name: item.name,
    price: roubles(pieceKopecks(item)),
    currency: item.currency,
    quantity: item.quantity,
  }));
  const former = currentCheckout();
  const isSame = former && !former.status && JSON.stringify(former.lines) === JSON.stringify(lines);
  if (!isSame) keep({ orderId: newOrderId(), amount: roubles(totalKopecks(items)), lines });
  return currentCheckout();
}

/** Notes what became of it. */
export function noteCheckout(news) {
  keep({ ...currentCheckout(), ...news });
  return currentCheckout();
}

/** The same things once more, as a new order: the former one's code is dead. */
export function renewCheckout() {
  const { amount, lines } = currentCheckout();
  keep({ orderId: newOrderId(), amount, lines });
}

export function endCheckout() {
  sessionStorage.removeItem(KEY);
}

function keep(checkout) {
  sessionStorage.setItem(KEY, JSON.stringify(checkout));
}

/** At most 40 of A-Z a-z 0-9 _ . - */
function newOrderId() {
  return `order_${crypto.randomUUID().replaceAll('-', '')}`;
}
