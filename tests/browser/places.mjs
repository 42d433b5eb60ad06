// Where everything is: the addresses of `make run` unless the environment says otherwise.

const { env } = process;

/** The two shops, each with its API and bot. */
export const ALL_SHOPS = [
  {
    brand: 'dexar',
    title: 'Dexar',
    url: env.DEXAR_SHOP ?? 'https://localhost:4200',
    api: env.DEXAR_API ?? 'https://localhost:445',
    bot: 'dexarmarket_bot',
  },
  {
    brand: 'novo',
    title: 'Novo',
    url: env.NOVO_SHOP ?? 'https://localhost:4201',
    api: env.NOVO_API ?? 'https://localhost:444',
    bot: 'novomarket_bot',
  },
];

/** Those whose journeys are made: one of them where SHOP names it, else both. */
export const SHOPS = ALL_SHOPS.filter(({ brand }) => brand === (env.SHOP ?? brand));

export const SANDBOX = env.SANDBOX ?? 'http://localhost:4210';

/** The state of the environment: its authority, and its services for the tests that take them away. */
export const STATE = env.STATE ?? new URL('../../.dev', import.meta.url).pathname;
export const CA = env.CA ?? `${STATE}/ca.pem`;

/** Where pictures of the pages go; none are taken without it. */
export const SCREENSHOTS = env.SCREENSHOTS;

/** Asks a shop's API or the sandbox from outside of the browser. Needs NODE_EXTRA_CA_CERTS, which run.sh sets. */
export async function ask(url, body) {
  const options = body && { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(url, options || {});
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.json();
}
