// Payment of the checkout: registers it, shows its QR code, polls its status and shows the result.

import { ApiError, config, read, send, sleep } from './api.js';
import { cart, loadCart } from './cart.js';
import { currentCheckout, endCheckout, renewCheckout, startCheckout, updateCheckout } from './checkout.js';
import { emailForm } from './email.js';
import { t } from './i18n.js';
import { requireLogin } from './login.js';
import { kopecks, money } from './money.js';
import { reviewForm } from './review.js';
import { go } from './router.js';
import { session, sessionKnown } from './session.js';
import { button, errorNote, h } from './ui.js';

const FINAL = ['COMPLETED', 'EXPIRED', 'CANCELLED'];

/** `/payment` */
export async function paymentPage({ signal }) {
  await sessionKnown;
  const content = h('div', { class: 'payment' });
  const checkout = currentCheckout();
  if (!checkout) show(content, t('payment'), h('p', { class: 'note' }, t('payment_none')), toCart());
  else if (!session.user) show(content, t('payment'), h('p', {}, t('payment_login')), loginButton(content, signal));
  else run(content, signal);
  return { title: t('payment'), content };
}

/** Replaces the content of the page, with a heading. */
function show(content, title, ...rest) {
  content.replaceChildren(h('h1', { tabindex: '-1' }, title), ...rest.filter(Boolean));
}

function toCart() {
  return h('p', {}, h('a', { class: 'button second', href: '/cart' }, t('to_cart')));
}

function loginButton(content, signal) {
  return button(t('login'), async () => (await requireLogin()) && run(content, signal), { class: 'primary' });
}

/** Runs the stored checkout to its final status. Errors are shown; leaving the page aborts. */
async function run(content, signal) {
  try {
    const checkout = currentCheckout();
    const isFinal = FINAL.includes(checkout.status);
    if (!isFinal) show(content, t('payment'), h('p', { class: 'note', role: 'status' }, t('payment_begins')));
    const status = isFinal ? checkout.status : await pollStatus(content, await registerPayment(checkout, signal), signal);
    updateCheckout({ status });
    if (status === 'COMPLETED') await showPaid(content);
    else showUnpaid(content, status, signal);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError)) throw error;
    showFailure(content, error, signal);
  }
}

function registerPayment({ orderId, amount, lines }, signal) {
  const body = {
    amount,
    currency: 'RUB',
    siteuserID: `tg_${session.user.telegramUserId}`,
    siteorderID: orderId,
    redirectUrl: `${location.origin}/payment`,
    telegramUsername: session.user.username ?? '',
    items: lines.map(({ itemID, price, name, quantity }) => ({ itemID, price, name, quantity })),
  };
  return send('POST', '/cart', { body, signal });
}

/** Shows the QR code and polls until the final status. */
async function pollStatus(content, payment, signal) {
  const state = h('p', { class: 'state', role: 'status', id: 'payment-state' }, t('payment_CREATED'));
  const timer = h('span', { class: 'left', role: 'timer', id: 'payment-left' });
  const tick = () => (timer.textContent = timeLeft(payment.qrExpirationDate));
  const clock = setInterval(tick, 1_000);
  tick();
  show(content, t('payment'),
    h('div', { class: 'panel pay' },
      h('img', { class: 'qr', src: payment.qrUrl, alt: t('payment_qr'), width: 240, height: 240, 'data-qr': payment.qrId }),
      h('div', {},
        h('div', { class: 'sum' }, money(kopecks(currentCheckout().amount))),
        h('p', {}, t('payment_steps')),
        h('p', {}, h('a', { class: 'button primary', href: payment.payload, target: '_blank', rel: 'noopener' }, t('payment_link'))),
        h('p', { class: 'hint' }, t('payment_left'), ' ', timer),
        state)),
    h('section', { class: 'panel' }, h('h2', {}, t('order')), lineList(currentCheckout())),
    h('p', {}, h('a', { href: '/cart' }, t('to_cart'))));
  try {
    for (;;) {
      const { paymentStatus } = await read(`/qr/payment/${encodeURIComponent(payment.qrId)}`, { signal });
      if (FINAL.includes(paymentStatus)) return paymentStatus;
      const text = t(`payment_${paymentStatus}`);
      if (state.textContent !== text) state.textContent = text;
      await sleep(config.pollMs, signal);
    }
  } finally {
    clearInterval(clock);
  }
}

/** The remaining time: `14:59`. */
function timeLeft(time) {
  const seconds = Math.max(0, Math.round((Date.parse(time) - Date.now()) / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** The lines of the order. */
function lineList({ lines }) {
  return h('ul', { class: 'bought' }, lines.map((line) =>
    h('li', {}, h('span', {}, `${line.name} × ${line.quantity}`), h('strong', {}, money(kopecks(line.price) * line.quantity)))));
}

/** The QR code expired or was cancelled without a payment. */
function showUnpaid(content, status, signal) {
  const again = button(t('payment_again'), async () => {
    renewCheckout();
    await run(content, signal);
  }, { class: 'primary' });
  show(content, t(`payment_${status}`), h('p', { class: 'note', role: 'alert' }, t(`payment_${status}_text`)), h('div', { class: 'row' }, again, toCart()));
}

/** The payment could not be registered. A retry sends the same order id, so that the order is never paid twice. */
function showFailure(content, error, signal) {
  let actions = toCart();
  if (error.isTransient) actions = [button(t('try_again'), () => run(content, signal), { class: 'primary' }), toCart()];
  else if (error.status === 401) actions = loginButton(content, signal);
  else if (error.status === 422 && error.body.amount) actions = [confirmAmount(content, error.body.amount, signal), toCart()];
  else endCheckout();
  show(content, t('payment_failed'), errorNote(error), h('div', { class: 'row' }, actions));
}

/** Prices have changed: the visitor must confirm the new amount before the payment is registered. */
function confirmAmount(content, amount, signal) {
  return button(t('payment_new_amount', { amount: money(kopecks(amount)) }), async () => {
    await loadCart();
    startCheckout(cart.items);
    updateCheckout({ amount });
    await run(content, signal);
  }, { class: 'primary' });
}

/** The order is paid: forms for the receipt email and for reviews. */
async function showPaid(content) {
  const checkout = currentCheckout();
  const reviews = checkout.lines.map((line) => h('details', { class: 'write' }, h('summary', {}, t('review_of', { name: line.name })), reviewForm(line)));
  const done = button(t('payment_done'), () => {
    endCheckout();
    go('/');
  }, { class: 'primary' });
  show(content, t('payment_COMPLETED'),
    h('p', { class: 'note success', role: 'status' }, t('payment_COMPLETED_text', { amount: money(kopecks(checkout.amount)) })),
    h('section', { class: 'panel' }, h('h2', {}, t('order')), h('p', { class: 'technical' }, checkout.orderId), lineList(checkout)),
    h('section', { class: 'panel' }, h('h2', {}, t('email_title')), emailForm(checkout)),
    h('section', { class: 'panel' }, h('h2', {}, t('reviews')), reviews),
    done);
  await loadCart();
}
