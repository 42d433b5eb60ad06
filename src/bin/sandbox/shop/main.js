// The shop's beginning: its skin, the frame around every page, and which page is shown.

import { ApiError, config, outage, send } from './api.js';
import { cart, cartPage, loadCart, onCart } from './cart.js';
import { categoryPage, homePage } from './catalog.js';
import { reason, t } from './i18n.js';
import { itemPage } from './item.js';
import { accountButton } from './login.js';
import { paymentPage } from './payment.js';
import { FALLBACK_REGIONS, LANGUAGE_NAMES, preferences } from './preferences.js';
import { current, route, start } from './router.js';
import { searchField, searchPage, showWords } from './search.js';
import { onSession } from './session.js';
import { errorNote, field, h, openDialog, say } from './ui.js';

const main = document.getElementById('main');
let leaving = new AbortController();

route('/', homePage);
route('/category/:id', categoryPage);
route('/item/:id', itemPage);
route('/search', searchPage);
route('/cart', cartPage);
route('/payment', paymentPage);

/** Shows the page of the address. What the former one still asked for is aborted. */
async function showPage({ quiet = true } = {}) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const place = current();
  main.setAttribute('aria-busy', 'true');
  showWords();
  try {
    const { title, content } = place ? await place.page({ ...place, signal }) : notFound();
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

function fill(title, content) {
  document.title = title ? `${title} · ${config.title}` : config.title;
  main.replaceChildren(...[content].flat(Infinity).filter(Boolean));
}

function notFound() {
  const content = [h('h1', { tabindex: '-1' }, t('not_found')), h('p', {}, h('a', { class: 'button', href: '/' }, t('to_shop')))];
  return { title: t('not_found'), content };
}

/** Header, footer and the skip link, in the language of now. */
function showFrame() {
  document.documentElement.lang = preferences.language;
  document.getElementById('skip').textContent = t('skip');
  const count = h('span', { class: 'bubble', 'aria-hidden': 'true' });
  const basket = h('a', { class: 'basket', href: '/cart' }, h('span', { 'aria-hidden': 'true' }, '🛒'), count);
  const account = h('span', {}, accountButton());
  const choice = h('button', { type: 'button', class: 'choice', onclick: choosePreferences, 'aria-label': t('preferences') },
    h('span', { 'aria-hidden': 'true' }, '🌐'), h('span', {}, preferences.language.toUpperCase()));
  document.getElementById('header').replaceChildren(h('div', { class: 'bar' },
    h('a', { class: 'logo', href: '/' }, config.title), searchField(), h('div', { class: 'tools' }, choice, account, basket)));
  document.getElementById('footer').replaceChildren(h('p', {}, t('footer', { shop: config.title })));
  const showCount = () => {
    const pieces = cart.items.reduce((sum, item) => sum + item.quantity, 0);
    count.textContent = pieces || '';
    basket.setAttribute('aria-label', t('cart_with', { pieces }));
  };
  showCount();
  onCart(showCount, frame.signal);
  showAccount = () => account.replaceChildren(accountButton());
}

let frame = new AbortController();
let showAccount = () => {};

/** Language and region; asked at the first visit, later behind the globe. */
async function choosePreferences() {
  // A list that does not come must not keep anybody out of the shop.
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
    frame.abort();
    frame = new AbortController();
    showFrame();
    showPage({ quiet: false });
    loadCart();
  };
  const form = h('form', { class: 'preferences', onsubmit: submit },
    field(t('language'), language), field(t('region'), region), h('p', { class: 'hint' }, t('region_hint')), h('button', { class: 'primary' }, t('choose')));
  const dialog = openDialog(t('preferences'), form);
}

/** The shop or the network is away: said at the top of the page for as long as requests wait. */
function showOutage(error) {
  const banner = document.getElementById('outage');
  if (error === null) say(t('back_again'), 'success');
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
