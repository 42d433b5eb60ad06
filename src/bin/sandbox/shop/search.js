// Search as you type: the field in the header and the page of results.

import { read } from './api.js';
import { PAGE_SIZE, pages } from './catalog.js';
import { t } from './i18n.js';
import { go } from './router.js';
import { h } from './ui.js';

const DEBOUNCE_MS = 250;
const MAX_QUERY_CHARS = 512;

/** The search field. Each pause in typing replaces the page of results. */
export function searchField() {
  let timer;
  const show = () => {
    clearTimeout(timer);
    const isSearching = location.pathname === '/search';
    const text = input.value.trim();
    // Navigation aborts the requests of the previous page.
    if (text) go(`/search?q=${encodeURIComponent(text)}`, { replace: isSearching, quiet: true });
    else if (isSearching) go('/', { replace: true, quiet: true });
  };
  const input = h('input', {
    type: 'search',
    name: 'q',
    placeholder: t('search_placeholder'),
    'aria-label': t('search'),
    autocomplete: 'off',
    enterkeyhint: 'search',
    maxlength: MAX_QUERY_CHARS,
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(show, DEBOUNCE_MS);
    },
  });
  const submit = (event) => {
    event.preventDefault();
    show();
  };
  return h('form', { role: 'search', onsubmit: submit }, input);
}

/** Shows the query of the URL in the search field, unless it has the focus. */
export function showQuery() {
  const input = document.querySelector('input[type=search]');
  if (input && input !== document.activeElement) input.value = new URLSearchParams(location.search).get('q') ?? '';
}

/** `/search?q=…` */
export async function searchPage({ query, signal }) {
  const text = query.get('q') ?? '';
  const path = (skip) => `/searchitems?search=${encodeURIComponent(text)}&count=${PAGE_SIZE}&skip=${skip}`;
  const { items, total } = await read(path(0), { signal });
  const found = pages(items, async (skip) => (await read(path(skip), { signal })).items, total);
  const content = [
    h('h1', { tabindex: '-1' }, t('search_title', { words: text })),
    h('p', { role: 'status', class: 'found' }, t('search_total', { total })),
    found,
  ];
  return { title: text, content };
}
