// Entry point: the skin, the header and footer, and the current page.

import { ApiError, config, outage, send } from './api.js';
import { cart, cartPage, loadCart, onCart } from './cart.js';
import { categoryPage, homePage } from './catalog.js';
import { reason, t } from './i18n.js';
import { icon } from './icons.js';
import { itemPage } from './item.js';
import { accountButton } from './login.js';
import { paymentPage } from './payment.js';
import { FALLBACK_REGIONS, LANGUAGE_NAMES, preferences } from './preferences.js';
import { current, route, start } from './router.js';
import { searchField, searchPage, showQuery } from './search.js';
import { onSession } from './session.js';
import { errorNote, field, h, openDialog, notify } from './ui.js';

const main = document.getElementById('main');
let pageAbort = new AbortController();

route('/', homePage);
route('/category/:id', categoryPage);
route('/item/:id', itemPage);
route('/search', searchPage);
route('/cart', cartPage);
route('/payment', paymentPage);

/** Shows the page of the current URL and aborts the requests of the previous one. */
async function showPage({ quiet = true } = {}) {
  pageAbort.abort();
  pageAbort = new AbortController();
  const { signal } = pageAbort;
  const match = current();
  main.setAttribute('aria-busy', 'true');
  showQuery();
  try {
    const { title, content } = match ? await match.page({ ...match, signal }) : notFound();
    if (signal.aborted) return;
    fill(title, content);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError)) throw error;
    fill(t('sorry'), error.status === 404 ? notFound().content : [h('h1', { tabindex: '-1' }, t('sorry')), errorNote(error)]);
  }
  main.removeAttribute('aria-busy');
  if (!quiet) {
    scrollTo(0, 0);
    main.querySelector('h1')?.focus({ preventScroll: true });
  }
}

/** Fills the page. A control that the new page has too keeps the keyboard focus. */
function fill(title, content) {
  const place = main.contains(document.activeElement) ? document.activeElement.dataset.place : undefined;
  document.title = title ? `${title} · ${config.title}` : config.title;
  main.replaceChildren(...[content].flat(Infinity).filter(Boolean));
  if (place) main.querySelector(`[data-place="${CSS.escape(place)}"]`)?.focus();
}

function notFound() {
  const content = [h('h1', { tabindex: '-1' }, t('not_found')), h('p', {}, h('a', { class: 'button', href: '/' }, t('to_shop')))];
  return { title: t('not_found'), content };
}

/** Header, footer and skip link, in the current language. */
function showFrame() {
  document.documentElement.lang = preferences.language;
  const count = h('span', { class: 'bubble', 'aria-hidden': 'true' });
  const basket = h('a', { class: 'basket', href: '/cart' }, icon('cart'), count);
  const account = h('span', {}, accountButton());
  const code = preferences.language.toUpperCase();
  const choice = h('button', { type: 'button', class: 'choice', onclick: choosePreferences, 'aria-label': `${code}: ${t('preferences')}` }, icon('globe'), code);
  const skip = h('a', { class: 'skip', href: '#main', id: 'skip' }, t('skip'));
  const bar = h('div', { class: 'bar' }, h('a', { class: 'logo', href: '/' }, config.title), searchField(), h('div', { class: 'tools' }, choice, account, basket));
  document.getElementById('header').replaceChildren(skip, bar);
  document.getElementById('footer').replaceChildren(h('p', {}, t('footer', { shop: config.title })));
  const showCount = () => {
    const quantity = cart.items.reduce((sum, item) => sum + item.quantity, 0);
    count.textContent = quantity || '';
    basket.setAttribute('aria-label', t('cart_with', { pieces: quantity }));
  };
  showCount();
  onCart(showCount, frameAbort.signal);
  showAccount = () => account.replaceChildren(accountButton());
}

let frameAbort = new AbortController();
let showAccount = () => {};

/** The dialog for language and region, shown at the first visit and by the globe button. */
async function choosePreferences() {
  // The dialog also works while /regions is unavailable.
  const regions = await send('GET', '/regions').catch(() => FALLBACK_REGIONS);
  const language = h('select', { name: 'shop-language', autofocus: true }, Object.entries(LANGUAGE_NAMES).map(([tag, name]) =>
    h('option', { value: tag, selected: tag === preferences.language, lang: tag }, name)));
  const everywhere = h('option', { value: '' }, t('everywhere'));
  const region = h('select', { name: 'shop-region' }, everywhere, regions.map(({ id, city, country }) =>
    h('option', { value: id, selected: id === preferences.region }, `${city}, ${country}`)));
  const submit = (event) => {
    event.preventDefault();
    preferences.choose(language.value, region.value);
    dialog.close();
    frameAbort.abort();
    frameAbort = new AbortController();
    showFrame();
    showPage({ quiet: false });
    loadCart();
  };
  const form = h('form', { class: 'preferences', onsubmit: submit },
    field(t('language'), language), field(t('region'), region), h('p', { class: 'hint' }, t('region_hint')), h('button', { class: 'primary' }, t('choose')));
  const dialog = openDialog(t('preferences'), form);
}

/** Shows a banner while requests wait for the API or the network to recover. */
function showOutage(error) {
  const banner = document.getElementById('outage');
  if (error === null) notify(t('back_again'), 'success');
  else banner.textContent = `${reason(error)} ${t('recovers')}`;
  banner.hidden = error === null;
}

document.documentElement.dataset.brand = config.brand;
document.documentElement.style.setProperty('--accent', config.accent);
outage.listener = showOutage;
onSession(() => {
  showAccount();
  loadCart();
});
showFrame();
start(showPage);
loadCart();
if (!preferences.isChosen) choosePreferences();
