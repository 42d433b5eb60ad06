// Client-side routing. Links inside the shop are ordinary <a href>.

/** The registered pages, most specific first. */
const routes = [];
let listener = () => {};
/** The path and query of the shown page. The fragment is not part of it: the skip link changes it. */
let shown = '';

function show(options) {
  shown = location.pathname + location.search;
  listener(options);
}

/** Registers a page: `route('/item/:id', itemPage)`. */
export function route(pattern, page) {
  const names = [...pattern.matchAll(/:(\w+)/g)].map(([, name]) => name);
  const expression = new RegExp(`^${pattern.replace(/:\w+/g, '([^/]+)')}/?$`);
  routes.push({ expression, names, page });
}

/** The page of the current URL, its parameters and its query; `null` if no route matches. */
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

/** Navigates to a path of the shop. `replace` replaces the history entry, `quiet` leaves the focus unchanged. */
export function go(path, { replace = false, quiet = false } = {}) {
  history[replace ? 'replaceState' : 'pushState'](null, '', path);
  show({ quiet });
}

/** Calls `showPage` now and after every navigation. */
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
