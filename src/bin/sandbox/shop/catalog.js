// The home page, the category tree, category pages and item cards.

import { ApiError, config, read, send } from './api.js';
import { addButton } from './cart.js';
import { filterForm, filterParameters, isFiltered } from './filters.js';
import { number, t, word } from './i18n.js';
import { icon } from './icons.js';
import { priceTag } from './price_tag.js';
import { button, h, picture } from './ui.js';

export const PAGE_SIZE = 24;
const RANDOM_ITEMS = 8;
/** With fewer top-level categories than this, the home page lists subcategories too. */
const MIN_CATEGORIES = 4;

/** `/`: all categories and random items. */
export async function homePage({ signal }) {
  const [categories, random] = await Promise.all([
    read('/category', { signal }),
    read(`/randomitems?count=${RANDOM_ITEMS}`, { signal }),
  ]);
  const randomItems = grid(random);
  const again = button(t('random_again'), async () => {
    randomItems.replaceChildren(...(await read(`/randomitems?count=${RANDOM_ITEMS}`, { signal })).map(card));
  }, { class: 'quiet' });
  const tiles = categories.map((category) => {
    const count = h('span', { class: 'count' }, String(category.itemCount));
    return h('li', {}, h('a', { class: 'tile', href: categoryPath(category) }, picture(category.icon), h('span', { class: 'name' }, category.name), count));
  });
  const below = categories.length < MIN_CATEGORIES ? descendants(categories).filter((category) => category.itemCount > 0) : [];
  const content = [
    h('section', { class: 'hero' }, h('h1', { tabindex: '-1' }, t('home_title', { shop: config.title })), h('p', {}, t('home_text'))),
    h('section', {}, h('h2', {}, t('categories')), h('ul', { class: 'tiles' }, tiles), below.length > 0 && chips(below)),
    h('section', {}, h('div', { class: 'row' }, h('h2', {}, t('random')), again), randomItems),
  ];
  return { content };
}

/** `/category/:id`: the breadcrumbs, subcategories and items of a category. */
export async function categoryPage({ parameters: { id }, query, signal }) {
  const filters = filterParameters(query);
  const [tree, first, facets] = await Promise.all([
    read('/category', { signal }),
    read(itemsPath(id, 0, filters), { signal }),
    facetsOf(id, filters, signal),
  ]);
  const trail = pathTo(tree, id) ?? [];
  const category = trail.at(-1);
  const title = category?.name ?? id;
  const children = category?.subcategories ?? [];
  const content = h('div', { class: 'with-aside' },
    h('aside', {}, h('details', { open: matchMedia('(min-width: 60rem)').matches }, h('summary', {}, t('categories')), treeList(tree, trail))),
    h('div', {},
      breadcrumbs(trail.slice(0, -1)),
      category?.wideBanner && h('div', { class: 'banner' }, picture(category.wideBanner)),
      h('h1', { tabindex: '-1' }, title),
      children.length > 0 && chips(children),
      filterForm(query, facets),
      pages(first, (skip) => read(itemsPath(id, skip, filters), { signal }), isFiltered(query) ? Infinity : category?.itemCount),
    ));
  return { title, content };
}

/** The facets of a category; none if they are unavailable, as the items may be shown without. */
async function facetsOf(id, filters, signal) {
  try {
    return await send('GET', `/category/${encodeURIComponent(id)}/facets?${filters.slice(1)}`, { signal });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return undefined;
  }
}

function itemsPath(id, skip, filters) {
  return `/category/${encodeURIComponent(id)}?count=${PAGE_SIZE}&skip=${skip}${filters}`;
}

/** Subcategories have a text id only, categories have both ids. */
export function categoryPath(category) {
  return `/category/${encodeURIComponent(category.id ?? category.categoryID)}`;
}

/** All subcategories of these categories. */
function descendants(categories) {
  return categories.flatMap(({ subcategories = [] }) => [...subcategories, ...descendants(subcategories)]);
}

/** A row of links to categories. */
export function chips(categories) {
  return h('ul', { class: 'chips' }, categories.map((category) => h('li', {}, h('a', { class: 'chip', href: categoryPath(category) }, label(category)))));
}

function label(category) {
  return [category.name, category.itemCount !== undefined && [' ', h('span', { class: 'count' }, String(category.itemCount))]];
}

/** Breadcrumbs: the home page and these categories. */
export function breadcrumbs(trail) {
  const steps = [[config.title, '/'], ...trail.map((category) => [category.name, categoryPath(category)])];
  const links = steps.map(([name, href]) => h('li', {}, h('a', { href }, name)));
  return h('nav', { 'aria-label': t('breadcrumbs') }, h('ol', { class: 'trail' }, links));
}

/** The path from the root to a category, or `null` if the tree does not contain it. */
export function pathTo(categories, id) {
  for (const category of categories) {
    if ([category.id, String(category.categoryID)].includes(id)) return [category];
    const below = pathTo(category.subcategories ?? [], id);
    if (below) return [category, ...below];
  }
  return null;
}

/** The category tree, expanded along the trail. */
function treeList(categories, trail) {
  const entries = categories.map((category) => {
    const isOpen = trail.includes(category);
    const isHere = trail.at(-1) === category;
    const link = h('a', { href: categoryPath(category), 'aria-current': isHere ? 'page' : null }, label(category));
    return h('li', {}, link, isOpen && category.subcategories?.length > 0 && treeList(category.subcategories, trail));
  });
  return h('ul', { class: 'tree' }, entries);
}

/** A list of items with a button that loads the next page. `total` is the number of items, if known. */
export function pages(first, load, total = Infinity) {
  if (first.length === 0) return h('p', { class: 'note' }, t('nothing_here'));
  const list = grid(first);
  let shown = first.length;
  const more = button(t('more'), async () => {
    const next = await load(shown);
    const cards = next.map(card);
    list.append(...cards);
    shown += next.length;
    more.hidden = isAll(next);
    cards[0]?.querySelector('a').focus();
  }, { class: 'more' });
  const isAll = (page) => page.length < PAGE_SIZE || shown >= total;
  more.hidden = isAll(first);
  return h('div', { class: 'pages' }, list, more);
}

function grid(items) {
  return h('ul', { class: 'grid' }, items.map(card));
}

/** The card of an item in a list. */
function card(item) {
  return h('li', { class: 'card', 'data-item': item.itemID },
    h('a', { href: `/item/${item.itemID}` },
      h('div', { class: 'photo' }, picture(item.photos?.[0]?.url)),
      badges(item),
      h('span', { class: 'name' }, item.name)),
    h('div', { class: 'facts' }, stars(item.rating), stock(item)),
    h('div', { class: 'row' }, priceTag(item), addButton(item)));
}

export function badges(item) {
  // The badge with the percentage replaces the one without it.
  const named = (item.badges ?? []).filter((badge) => badge !== 'sale' || item.discount === 0);
  const texts = named.map((badge) => h('span', { class: `badge ${badge}` }, word(`badge_${badge}`, badge)));
  const discount = item.discount > 0 && h('span', { class: 'badge sale' }, `−${item.discount} %`);
  return h('span', { class: 'badges' }, discount, texts);
}

export function stars(rating) {
  if (!rating) return h('span', { class: 'stars none' }, t('no_rating'));
  const text = number(rating);
  return h('span', { class: 'stars', role: 'img', 'aria-label': t('rating_of', { rating: text }) }, icon('star'), text);
}

export function stock(item) {
  return h('span', { class: `stock ${item.remainings ?? ''}` }, item.remainings ? t(`stock_${item.remainings}`) : '');
}
