// The order and the filters of a list of items. They are part of the address of the page, so that it can be reloaded and shared.

import { number, t } from './i18n.js';
import { go } from './router.js';
import { field, h } from './ui.js';

const ORDERS = ['price', '-price', 'rating', 'new', 'name'];
const FILTERS = ['priceMin', 'priceMax', 'inStock', 'discounted', 'tags', 'category'];
const MAX_TAGS = 12;
const NO_FACETS = { categories: [], tags: [], price: { min: 0, max: 0 } };

/** Whether the visitor has opened the form; a choice renders the page again. */
let isOpen = false;

/** Whether the query of a page has filters; the order is none. */
export function isFiltered(query) {
  return FILTERS.some((name) => query.has(name));
}

/** The order and the filters of a page's query, as parameters of the API: `&sort=price&inStock=true`. */
export function filterParameters(query) {
  return ['sort', ...FILTERS].filter((name) => query.has(name)).map((name) => `&${name}=${encodeURIComponent(query.get(name))}`).join('');
}

/** The form for the order and the filters. Every change shows the page with the new ones. `facets` are those of the API, which has none while it builds its index. */
export function filterForm(query, facets = NO_FACETS) {
  const change = () => {
    const chosen = new FormData(form);
    const next = new URLSearchParams(query);
    for (const name of ['sort', ...FILTERS]) {
      const value = chosen.getAll(name).join(',').trim();
      if (value) next.set(name, value);
      else next.delete(name);
    }
    go(pathWith(next), { replace: true, quiet: true });
  };
  const without = new URLSearchParams(query);
  for (const name of FILTERS) without.delete(name);
  const form = h('form', { class: 'filters', 'aria-label': t('filters_label'), onchange: change, onsubmit: (event) => event.preventDefault() },
    field(t('sort'), sortSelect(query)),
    h('details', { open: isOpen || isFiltered(query), ontoggle: (event) => (isOpen = event.currentTarget.open) },
      h('summary', {}, t('filters')),
      h('div', { class: 'choices' }, prices(query, facets), h('div', {}, flag(query, 'inStock'), flag(query, 'discounted')), categories(query, facets), tags(query, facets)),
      isFiltered(query) && h('p', {}, h('a', { href: pathWith(without) }, t('filters_reset')))));
  return form;
}

function pathWith(query) {
  return query.size > 0 ? `${location.pathname}?${query}` : location.pathname;
}

function sortSelect(query) {
  const options = ['', ...ORDERS].map((order) => h('option', { value: order, selected: (query.get('sort') ?? '') === order }, t(`sort_${order || 'default'}`)));
  return h('select', { name: 'sort', 'data-place': 'sort' }, options);
}

/** The limits of the price, with those of the hits as a hint. */
function prices(query, { price }) {
  const limit = (name, hint) => field(t(name), h('input', {
    type: 'number', name, min: 0, step: 'any', inputmode: 'decimal', value: query.get(name), placeholder: hint > 0 ? number(hint) : null, 'data-place': name,
  }));
  return h('div', { class: 'prices' }, limit('priceMin', price.min), limit('priceMax', price.max));
}

function flag(query, name) {
  return check({ name, value: 'true', checked: query.get(name) === 'true', 'data-place': name }, t(`filter_${name}`));
}

/** The categories of the hits of a search; a category's page has links to its subcategories. */
function categories(query, facets) {
  if (!query.has('q')) return null;
  const chosen = query.get('category') ?? '';
  const known = facets.categories.map(({ id, name, count }) => [id, `${name} (${count})`]);
  if (chosen && !known.some(([id]) => id === chosen)) known.push([chosen, chosen]);
  const options = [['', t('filter_all')], ...known].map(([id, text]) => h('option', { value: id, selected: id === chosen }, text));
  return field(t('filter_category'), h('select', { name: 'category', 'data-place': 'category' }, options));
}

/** The most frequent tags, and the chosen ones. */
function tags(query, facets) {
  const chosen = (query.get('tags') ?? '').split(',').filter(Boolean);
  const counts = new Map(facets.tags.map(({ tag, count }) => [tag, count]));
  // A tag with a comma cannot be chosen: the parameter separates tags by commas.
  const frequent = facets.tags.map(({ tag }) => tag).filter((tag) => !chosen.includes(tag) && !tag.includes(',')).slice(0, MAX_TAGS);
  const shown = [...chosen, ...frequent];
  if (shown.length === 0) return null;
  return h('fieldset', { class: 'tags' }, h('legend', {}, t('filter_tags')), shown.map((tag) =>
    check({ name: 'tags', value: tag, checked: chosen.includes(tag), 'data-place': `tag ${tag}` }, `${tag} (${counts.get(tag) ?? 0})`)));
}

function check(attributes, text) {
  return h('label', { class: 'check' }, h('input', { type: 'checkbox', ...attributes }), h('span', {}, text));
}
