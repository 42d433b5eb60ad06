// The cart: its contents, its page, and the buttons that change it.

import { read, send } from './api.js';
import { startCheckout } from './checkout.js';
import { t } from './i18n.js';
import { icon } from './icons.js';
import { requireLogin } from './login.js';
import { money, totalKopecks, unitKopecks } from './money.js';
import { priceTag } from './price_tag.js';
import { go } from './router.js';
import { sessionKnown } from './session.js';
import { busy, button, h, picture, notify } from './ui.js';

const MAX_QUANTITY = 999;
const listeners = new Set();

/** Items as the API returns them; `quantity` is the quantity in the cart. */
export const cart = { items: [] };

/** Reloads the cart. */
export async function loadCart() {
  await sessionKnown;
  cart.items = await read('/cart');
  for (const listener of listeners) listener();
}

/** Calls `listener` after every change, until the signal aborts. */
export function onCart(listener, signal) {
  listeners.add(listener);
  signal?.addEventListener('abort', () => listeners.delete(listener));
}

/** Changes the cart and reloads it; also when the item is out of stock, as the stock has changed. */
async function change(method, body) {
  try {
    await send(method, '/cart', { body });
  } catch (error) {
    if (error.code === 'out_of_stock') await loadCart();
    throw error;
  }
  await loadCart();
}

/** The button that adds an item to the cart. */
export function addButton(item) {
  if (item.remainings === 'out') return h('span', { class: 'sold-out' }, t('stock_out'));
  const add = async () => {
    await change('POST', { itemID: item.itemID, quantity: 1 });
    notify(t('added', { name: item.name }));
  };
  return button(t('add'), add, { class: 'add', 'aria-label': t('add_named', { name: item.name }) });
}

/** `/cart` */
export async function cartPage({ signal }) {
  await loadCart();
  const content = h('div', {});
  const show = () => {
    // Keyboard focus stays at the same control of the same item.
    const place = document.activeElement?.dataset.place;
    content.replaceChildren(...(cart.items.length > 0 ? filled() : empty()));
    if (place) (content.querySelector(`[data-place="${place}"]`) ?? content.querySelector('h1')).focus();
  };
  onCart(show, signal);
  show();
  return { title: t('cart'), content };
}

function empty() {
  return [heading(), h('p', { class: 'note' }, t('cart_empty')), h('p', {}, h('a', { class: 'button', href: '/' }, t('to_shop')))];
}

function filled() {
  const isPayable = cart.items.every((item) => item.remainings !== 'out');
  const checkout = button(t('checkout'), async () => {
    if (!(await requireLogin())) return;
    // A login merges this cart with the cart of the account.
    await loadCart();
    startCheckout(cart.items);
    go('/payment');
  }, { class: 'primary', disabled: !isPayable });
  return [
    heading(),
    h('div', { class: 'cart' },
      h('ul', { class: 'lines' }, cart.items.map(line)),
      h('section', { class: 'panel summary', 'aria-label': t('total') },
        h('p', { class: 'row total' }, h('span', {}, t('total')), h('strong', { id: 'total' }, money(totalKopecks(cart.items)))),
        !isPayable && h('p', { class: 'hint' }, t('cart_has_out')),
        checkout)),
  ];
}

function heading() {
  return h('h1', { tabindex: '-1' }, t('cart'));
}

function line(item) {
  const set = (quantity) => change('PATCH', { itemID: item.itemID, quantity });
  const place = (what) => `${what}-${item.itemID}`;
  const number = h('input', {
    type: 'number',
    name: `quantity-${item.itemID}`,
    min: 1,
    max: MAX_QUANTITY,
    value: item.quantity,
    'aria-label': t('quantity_of', { name: item.name }),
    'data-place': place('number'),
    onchange: (event) => busy(event.currentTarget, async () => {
      try {
        await set(event.target.valueAsNumber);
      } catch (error) {
        number.value = item.quantity;
        throw error;
      }
    }),
  });
  const step = (sign, by, key) => button(icon(sign), () => set(item.quantity + by), {
    class: 'step',
    'aria-label': t(key, { name: item.name }),
    'data-place': place(key),
    disabled: item.quantity + by < 1,
  });
  const remove = button(t('remove'), () => change('DELETE', [item.itemID]), { class: 'quiet', 'aria-label': t('remove_named', { name: item.name }) });
  return h('li', { class: 'line', 'data-item': item.itemID },
    h('a', { class: 'photo', href: `/item/${item.itemID}`, tabindex: '-1', 'aria-hidden': 'true' }, picture(item.photos?.[0]?.url)),
    h('div', { class: 'what' }, h('a', { href: `/item/${item.itemID}` }, item.name), priceTag(item), item.remainings === 'out' && h('span', { class: 'stock out' }, t('line_out'))),
    h('div', { class: 'stepper' }, step('minus', -1, 'one_less'), number, step('plus', 1, 'one_more')),
    h('strong', { class: 'sum' }, money(unitKopecks(item) * item.quantity)),
    remove);
}
