// Suggestions while typing in the search field: a combobox with a list, as the WAI-ARIA Authoring Practices describe it.

import { ApiError, send } from './api.js';
import { categoryPath } from './catalog.js';
import { t } from './i18n.js';
import { money, unitKopecks } from './money.js';
import { go } from './router.js';
import { h } from './ui.js';

const MAX_QUERIES_AND_ITEMS = 4;

/** The suggestions of a search field: `list` is their element, `load` fills it for a text, `close` closes it. */
export function suggestionsOf(input) {
  const list = h('ul', { class: 'suggestions', id: 'suggestions', role: 'listbox', 'aria-label': t('suggestions'), hidden: true });
  let options = [];
  let active = -1;
  let loading = new AbortController();

  const close = () => {
    loading.abort();
    show([]);
  };

  const show = (entries) => {
    options = entries.map(({ path, text, detail }, index) => {
      const choose = () => {
        close();
        input.value = new URL(path, location).searchParams.get('q') ?? '';
        go(path);
      };
      // The field keeps the focus, without which the list would close before the click.
      const keepFocus = (event) => event.preventDefault();
      const element = h('li', { role: 'option', id: `suggestion-${index}`, 'aria-selected': 'false', onmousedown: keepFocus, onclick: choose },
        h('span', {}, text), h('span', { class: 'hint' }, detail));
      return { element, choose };
    });
    list.replaceChildren(...options.map(({ element }) => element));
    list.hidden = options.length === 0;
    input.setAttribute('aria-expanded', String(!list.hidden));
    activate(-1);
  };

  const activate = (index) => {
    options[active]?.element.setAttribute('aria-selected', 'false');
    active = index;
    const element = options[active]?.element;
    element?.setAttribute('aria-selected', 'true');
    element?.scrollIntoView({ block: 'nearest' });
    if (element) input.setAttribute('aria-activedescendant', element.id);
    else input.removeAttribute('aria-activedescendant');
  };

  const load = async (text) => {
    loading.abort();
    loading = new AbortController();
    const { signal } = loading;
    try {
      const found = await send('GET', `/suggest?search=${encodeURIComponent(text)}&count=${MAX_QUERIES_AND_ITEMS}`, { signal });
      if (!signal.aborted) show(entriesOf(found));
    } catch (error) {
      // The search works without suggestions.
      if (!signal.aborted && !(error instanceof ApiError)) throw error;
    }
  };

  const onKey = (event) => {
    if (list.hidden || event.isComposing) return;
    if (event.key === 'ArrowDown') activate(active + 1 < options.length ? active + 1 : -1);
    else if (event.key === 'ArrowUp') activate(active < 0 ? options.length - 1 : active - 1);
    else if (event.key === 'Enter' && active >= 0) options[active].choose();
    else if (event.key === 'Escape') close();
    else return;
    event.preventDefault();
  };

  for (const [name, value] of [['role', 'combobox'], ['aria-autocomplete', 'list'], ['aria-controls', list.id], ['aria-expanded', 'false']]) input.setAttribute(name, value);
  input.addEventListener('keydown', onKey);
  input.addEventListener('blur', close);
  return { list, load, close };
}

/** The suggestions of the API, as entries of the list. */
function entriesOf({ queries, categories, items }) {
  return [
    ...queries.map((query) => ({ path: `/search?q=${encodeURIComponent(query)}`, text: query, detail: '' })),
    ...categories.map((category) => ({ path: categoryPath(category), text: category.name, detail: t('suggested_category') })),
    ...items.map((item) => ({ path: `/item/${item.itemID}`, text: item.name, detail: money(unitKopecks(item)) })),
  ];
}
