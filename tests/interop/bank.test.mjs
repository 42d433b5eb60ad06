// Every call to the bank goes through Prism, which validates requests and responses against the description of its API.
//
// Prism stands between the gateway and the simulator of the bank. The brand is pointed at it by a reload of its file.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { getHttpOperationsFromSpec } from '@stoplight/prism-http';

import { ALL_SHOPS, SANDBOX, STATE, fetchJson } from '../browser/environment.mjs';
import { DESCRIPTION, documentsOf } from './bank_description.mjs';

const { createClientFromOperations } = createRequire(import.meta.url)('@stoplight/prism-http/dist/client.js');

const TIMEOUT_MS = 60_000;
const POLL_MS = 300;
const { BANK_DOCUMENTS, BINARIES } = process.env;
const [SHOP] = ALL_SHOPS;
const BRAND_FILE = `${STATE}/brands/${SHOP.brand}.toml`;

/** The calls that have arrived, as `METHOD path-of-the-description`, and what Prism found wrong with them. */
const calls = new Set(), violations = [];
let server, brandFile;

const DESCRIBED = Object.entries(DESCRIPTION.paths).flatMap(([path, operations]) =>
  Object.keys(operations)
    .filter((method) => method !== 'parameters')
    .map((method) => `${method.toUpperCase()} ${path.replace(/\{\w+\}/, 'ID')}`),
);

before(async () => {
  const documents = BANK_DOCUMENTS ? documentsOf(BANK_DOCUMENTS) : [DESCRIPTION];
  const operations = (await Promise.all(documents.map((document) => getHttpOperationsFromSpec(document)))).flat();
  const silent = Object.fromEntries(['info', 'warn', 'error', 'debug', 'trace', 'fatal', 'success'].map((level) => [level, () => {}]));
  const prism = createClientFromOperations(operations, {
    mock: false,
    isProxy: true,
    upstream: new URL(SANDBOX),
    upstreamProxy: undefined,
    checkSecurity: true,
    validateRequest: true,
    // The bank's documents describe refusals in prose alone.
    validateResponse: !BANK_DOCUMENTS,
    errors: false,
    logger: { ...silent, child: () => silent },
  });
  server = createServer((request, response) => void respond(prism, request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  brandFile = readFileSync(BRAND_FILE, 'utf8');
  const bank = /(\[bank\]\napi_url = ")[^"]*/;
  assert.match(brandFile, bank);
  await reload(brandFile.replace(bank, `$1http://127.0.0.1:${server.address().port}`));
});

after(async () => {
  await reload(brandFile);
  server.closeAllConnections();
  server.close();
});

/** Replaces the brand's file and waits until the workers have read it. */
async function reload(text) {
  const log = () => readFileSync(`${STATE}/workers.log`, 'utf8').split('reloaded the configuration').length;
  const earlier = log();
  writeFileSync(BRAND_FILE, text);
  for (const name of ['gateway', 'workers']) process.kill(Number(readFileSync(`${STATE}/${name}.pid`, 'utf8')), 'SIGHUP');
  await eventually('the workers have reloaded', () => log() > earlier);
}

/** Forwards a call of the gateway to the simulator through Prism. */
async function respond(prism, request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const body = text === '' ? undefined : JSON.parse(text);
  const call = `${request.method} ${request.url.replace(/(qrs|qr|refund|sell)\/(?!register)[\w-]{6,}/, '$1/ID')}`;
  try {
    const input = { method: request.method.toLowerCase(), headers: request.headers, body };
    const { status, headers, data, violations: found } = await prism.request(request.url, input);
    calls.add(call);
    for (const [side, problems] of [['request', found.input], ['response', found.output]]) {
      for (const { path, message } of problems) violations.push(`${call}: ${side}: ${path?.join('.')}: ${message}`);
    }
    response.writeHead(status, { 'content-type': headers['content-type'] ?? 'application/json' });
    response.end(data === undefined || data === '' ? '' : JSON.stringify(data));
  } catch (error) {
    violations.push(`${call}: ${error.name}: ${error.message} ${error.detail ?? ''}`);
    response.writeHead(500).end();
  }
}

async function eventually(what, condition) {
  for (const deadline = Date.now() + TIMEOUT_MS; Date.now() < deadline; await new Promise((done) => setTimeout(done, POLL_MS))) {
    const found = await condition();
    if (found) return found;
  }
  return assert.fail(`${what}: not within ${TIMEOUT_MS} ms; calls: ${[...calls].join(', ')}; violations: ${violations.join('\n')}`);
}

/** A visitor without a browser: keeps cookies. */
function newVisitor() {
  const cookies = new Map();
  return async (method, path, body) => {
    const cookie = [...cookies].map((pair) => pair.join('=')).join('; ');
    const headers = { cookie, ...(body && { 'content-type': 'application/json' }) };
    const response = await fetch(SHOP.api + path, { method, headers, body: body && JSON.stringify(body) });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      cookies.set(name, value);
    }
    const json = await response.json();
    assert.equal(response.status, 200, `${method} ${path}: ${JSON.stringify(json)}`);
    return json;
  };
}

/** An item whose stock suffices, and its price. */
async function plentifulItem() {
  const { items } = await fetchJson(`${SHOP.api}/searchitems?search=${encodeURIComponent('стул')}&inStock=true&count=200`);
  const { itemID, price, discount } = items.find(({ quantity, discount }) => quantity >= 10 && discount < 100);
  return { itemID, amount: Math.round(price * (100 - discount)) / 100 };
}

/** Begins a payment of two units. */
async function beginPayment(visitor, { itemID, amount }) {
  const siteorderID = `prism-${Date.now()}`;
  const items = [{ itemID, price: amount, quantity: 2, name: 'a' }];
  const order = { siteorderID, amount: Math.round(amount * 200) / 100, currency: 'RUB', redirectUrl: `${SHOP.url}/paid`, items };
  return { siteorderID, items, ...(await visitor('POST', '/cart', order)) };
}

function brandgate(...command) {
  const options = ['--brand', SHOP.brand, '--brands', `${STATE}/brands`, '--credentials', `${STATE}/credentials`];
  return promisify(execFile)(`${BINARIES}/brandgate`, [...command, ...options]);
}

test('Prism finds nothing wrong with the calls of a purchase, a cancellation and a refund', async () => {
  const visitor = newVisitor();
  const item = await plentifulItem();
  await visitor('GET', '/cart');

  // The gateway may not have reloaded yet: then the bank was asked directly.
  await eventually('a registration through Prism', async () => {
    const { qrId } = await beginPayment(visitor, item);
    assert.equal((await visitor('DELETE', `/qr/payment/${qrId}`)).paymentStatus, 'CANCELLED');
    return calls.has('POST /api/sbp/v2/qrs') && calls.has('DELETE /api/sbp/v2/qrs/ID');
  });

  const { qrId, siteorderID, items } = await beginPayment(visitor, item);
  await fetchJson(`${SANDBOX}/bank/qrs/${qrId}/pay`, { notify: false });
  await eventually('the payment', async () => (await visitor('GET', `/qr/payment/${qrId}`)).paymentStatus === 'COMPLETED');
  await visitor('POST', '/purchase-email', { email: 'anna@example.com', telegramUserId: '1', siteorderID, items });
  await eventually('the receipt', () => calls.has('GET /api/fiscal/v1/receipts/sell/ID'));

  const payments = JSON.parse((await brandgate('payments', 'list', '--json', '--order', siteorderID)).stdout);
  await brandgate('payments', 'refund', String(payments[0].payment), '--item', String(item.itemID));
  await eventually('every call', () => DESCRIBED.every((call) => calls.has(call)));
  assert.deepEqual(violations, []);
  assert.deepEqual([...calls].sort(), DESCRIBED.sort());
});
