// Search as you type: the field in the header, with suggestions, and the page of results.

import { read } from './api.js';
import { PAGE_SIZE, chips, pages } from './catalog.js';
import { filterForm, filterParameters } from './filters.js';
import { t } from './i18n.js';
import { go } from './router.js';
import { suggestionsOf } from './suggest.js';
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
      const text = input.value.trim();
      if (!text) suggestions.close();
      timer = setTimeout(() => {
        show();
        if (text) suggestions.load(text);
      }, DEBOUNCE_MS);
    },
  });
  const submit = (event) => {
    event.preventDefault();
    suggestions.close();
    show();
  };
  const suggestions = suggestionsOf(input);
  return h('form', { role: 'search', onsubmit: submit }, input, suggestions.list);
}

/** Shows the query of the URL in the search field, unless it has the focus. */
export function showQuery() {
  const input = document.querySelector('input[type=search]');
  if (input && input !== document.activeElement) input.value = new URLSearchParams(location.search).get('q') ?? '';
}

/** `/search?q=…`, with the filters; `exact=true` searches for the words as they are. */
export async function searchPage({ query, signal }) {
  const text = query.get('q') ?? '';
  const isExact = query.get('exact') === 'true';
  const parameters = `search=${encodeURIComponent(text)}&count=${PAGE_SIZE}&exact=${isExact}${filterParameters(query)}`;
  const path = (skip) => `/searchitems?${parameters}&skip=${skip}`;
  const { items, total, corrected, categories = [], facets } = await read(`${path(0)}&facets=true`, { signal });
  const found = pages(items, async (skip) => (await read(path(skip), { signal })).items, total);
  const content = [
    h('h1', { tabindex: '-1' }, t('search_title', { words: text })),
    h('p', { role: 'status', class: 'found' }, t('search_total', { total })),
    corrected && h('p', {}, t('search_corrected', { words: corrected }), ' ', h('a', { href: `/search?q=${encodeURIComponent(text)}&exact=true` }, t('search_exact', { words: text }))),
    categories.length > 0 && chips(categories),
    filterForm(query, facets),
    found,
  ];
  return { title: text, content };
}
