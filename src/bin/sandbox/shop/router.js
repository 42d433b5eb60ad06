// Which page an address shows. Links inside the shop are ordinary <a href>; this listens to them.

/** The pattern of each page, most particular first; `:id` is a parameter. */
const routes = [];
let listener = () => {};
/** The address of the page that is shown. What follows its # is a place on it: the skip link's, for one. */
let shown = '';

function show(how) {
  shown = location.pathname + location.search;
  listener(how);
}

/** Adds a page: `route('/item/:id', itemPage)`. */
export function route(pattern, page) {
  const names = [...pattern.matchAll(/:(\w+)/g)].map(([, name]) => name);
  const expression = new RegExp(`^${pattern.replace(/:\w+/g, '([^/]+)')}/?$`);
  routes.push({ expression, names, page });
}

/** The page of the address bar, its parameters and its query; `null` when there is none. */
export function current() {
  for (const { expression, names, page } of routes) {
    const match = expression.exec(location.pathname);
    if (match) {
      const values = match.slice(1).map(decodeURIComponent);
      const parameters = Object.fromEntries(names.map((name, index) => [name, values[index]]));
      return { page, parameters, query: new URLSearchParams(location.search) };
    }
  }
  return null;
}

/** Goes to an address of the shop. `replace` keeps the way back as it was, `quiet` leaves focus where it is. */
export function go(path, { replace = false, quiet = false } = {}) {
  history[replace ? 'replaceState' : 'pushState'](null, '', path);
  show({ quiet });
}

/** Calls `showPage` now and at every change of the address. */
export function start(showPage) {
  listener = showPage;
  addEventListener('popstate', () => {
    if (location.pathname + location.search !== shown) show({ quiet: false });
  });
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[href^="/"]');
    const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (link && isPlain && !link.target) {
      event.preventDefault();
      go(link.getAttribute('href'));
    }
  });
  show({ quiet: true });
}
