// Addresses of the environment: those of `make run`, unless environment variables override them.

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

/** The shops under test: the one that SHOP names, else both. */
export const SHOPS = ALL_SHOPS.filter(({ brand }) => brand === (env.SHOP ?? brand));

export const SANDBOX = env.SANDBOX ?? 'http://localhost:4210';

/** The state directory of the environment: its CA, and its services for the tests that stop them. */
export const STATE = env.STATE ?? new URL('../../.dev', import.meta.url).pathname;
export const CA = env.CA ?? `${STATE}/ca.pem`;

/** The directory of screenshots; without it none are taken. */
export const SCREENSHOTS = env.SCREENSHOTS;

/** Sends a request to a shop's API or to the sandbox, without a browser. Needs NODE_EXTRA_CA_CERTS, which run.sh sets. */
export async function fetchJson(url, body) {
  const options = body && { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(url, options || {});
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.json();
}
