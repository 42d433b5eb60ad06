// The order being paid, stored in sessionStorage, so that a reload or a retry pays the same order.
//
// `orderId` is `siteorderID` of the API, and its idempotency key: the same checkout may be sent again, another cart needs
// another order id.

import { unitKopecks, roubles, totalKopecks } from './money.js';

const KEY = 'checkout';

/** The checkout of this tab, or `null`: { orderId, amount, lines, qrId, status }. */
export function currentCheckout() {
  return JSON.parse(sessionStorage.getItem(KEY));
}

/** Starts a checkout of these items, or continues the current one if its items are the same. */
export function startCheckout(items) {
  const lines = items.map((item) => ({
    itemID: item.itemID,
    name: item.name,
    price: roubles(unitKopecks(item)),
    currency: item.currency,
    quantity: item.quantity,
  }));
  const previous = currentCheckout();
  const isSame = previous && !previous.status && JSON.stringify(previous.lines) === JSON.stringify(lines);
  if (!isSame) store({ orderId: newOrderId(), amount: roubles(totalKopecks(items)), lines });
  return currentCheckout();
}

/** Updates members of the checkout. */
export function updateCheckout(changes) {
  store({ ...currentCheckout(), ...changes });
  return currentCheckout();
}

/** Starts a new order of the same items, after the QR code of the previous one has expired. */
export function renewCheckout() {
  const { amount, lines } = currentCheckout();
  store({ orderId: newOrderId(), amount, lines });
}

export function endCheckout() {
  sessionStorage.removeItem(KEY);
}

function store(checkout) {
  sessionStorage.setItem(KEY, JSON.stringify(checkout));
}

/** At most 40 characters of A-Z a-z 0-9 _ . - */
function newOrderId() {
  return `order_${crypto.randomUUID().replaceAll('-', '')}`;
}
