// Search as you type: the field in the header and the page of what was found.

import { read } from './api.js';
import { PAGE_SIZE, pages } from './catalog.js';
import { t } from './i18n.js';
import { go } from './router.js';
import { h } from './ui.js';

const DEBOUNCE_MS = 250;
const LONGEST_QUERY = 512;

/** The field. Every pause in typing shows another page of results in place of the former one. */
export function searchField() {
  let timer;
  const show = () => {
    clearTimeout(timer);
    const isSearching = location.pathname === '/search';
    const text = input.value.trim();
    // A new address aborts what the former one was still asking for: see main.js.
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
    maxlength: LONGEST_QUERY,
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

/** Puts the words of the address into the field, unless somebody is typing there. */
export function showWords() {
  const input = document.querySelector('input[type=search]');
  if (input && input !== document.activeElement) input.value = new URLSearchParams(location.search).get('q') ?? '';
}

/** `/search?q=…` */
export async function searchPage({ query, signal }) {
  const words = query.get('q') ?? '';
  const path = (skip) => `/searchitems?search=${encodeURIComponent(words)}&count=${PAGE_SIZE}&skip=${skip}`;
  const { items, total } = await read(path(0), { signal });
  const found = pages(items, async (skip) => (await read(path(skip), { signal })).items, total);
  const content = [
    h('h1', { tabindex: '-1' }, t('search_title', { words })),
    h('p', { role: 'status', class: 'found' }, t('search_total', { total })),
    found,
  ];
  return { title: words, content };
}
