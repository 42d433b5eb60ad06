// The cart: what is in it, the buttons that change it, and its page.

import { read, send } from './api.js';
import { beginCheckout } from './checkout.js';
import { price } from './catalog.js';
import { t } from './i18n.js';
import { requireLogin } from './login.js';
import { money, pieceKopecks, totalKopecks } from './money.js';
import { go } from './router.js';
import { sessionKnown } from './session.js';
import { busy, button, h, picture, say } from './ui.js';

const MOST_PIECES = 999;
const listeners = new Set();

/** Items as the API has them; `quantity` is how many are in the cart. */
export const cart = { items: [] };

/** Reads the cart anew. */
export async function loadCart() {
  await sessionKnown;
  cart.items = await read('/cart');
  for (const listener of listeners) listener();
}

/** Calls `listener` at every change; until the signal says that nobody looks any more. */
export function onCart(listener, signal) {
  listeners.add(listener);
  signal?.addEventListener('abort', () => listeners.delete(listener));
}

/** A write, and what became of the cart by it. More than the stock is refused with how many are left. */
async function change(method, body) {
  try {
    await send(method, '/cart', { body });
  } catch (error) {
    if (error.code === 'out_of_stock') await loadCart();
    throw error;
  }
  await loadCart();
}

/** The button of an item in a list and on its page. */
export function addButton(item) {
  if (item.remainings === 'out') return h('span', { class: 'sold-out' }, t('stock_out'));
  const add = async () => {
    await change('POST', { itemID: item.itemID, quantity: 1 });
    say(t('added', { name: item.name }));
  };
  return button(t('add'), add, { class: 'add', 'aria-label': t('add_named', { name: item.name }) });
}

/** `/cart` */
export async function cartPage({ signal }) {
  await loadCart();
  const content = h('div', {});
  const show = () => {
    // Whoever works with the keyboard stays at the same button of the same item.
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
    // A login joins this cart with the one that the person had before.
    await loadCart();
    beginCheckout(cart.items);
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
    max: MOST_PIECES,
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
  const step = (sign, by, key) => button(sign, () => set(item.quantity + by), {
    class: 'step',
    'aria-label': t(key, { name: item.name }),
    'data-place': place(key),
    disabled: item.quantity + by < 1,
  });
  const remove = button(t('remove'), () => change('DELETE', [item.itemID]), { class: 'quiet', 'aria-label': t('remove_named', { name: item.name }) });
  return h('li', { class: 'line', 'data-item': item.itemID },
    h('a', { class: 'photo', href: `/item/${item.itemID}`, tabindex: '-1', 'aria-hidden': 'true' }, picture(item.photos?.[0]?.url)),
    h('div', { class: 'what' }, h('a', { href: `/item/${item.itemID}` }, item.name), price(item), item.remainings === 'out' && h('span', { class: 'stock out' }, t('line_out'))),
    h('div', { class: 'stepper' }, step('−', -1, 'one_less'), number, step('+', 1, 'one_more')),
    h('strong', { class: 'sum' }, money(pieceKopecks(item) * item.quantity)),
    remove);
}
