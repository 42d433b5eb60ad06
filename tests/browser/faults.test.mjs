// The shop in bad times: the bank goes, the database goes, Redis goes; the page says so and recovers by itself.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { answered, visitorOf } from './browser.mjs';
import { bank, withSomething } from './paying.mjs';
import { SANDBOX, SHOPS, STATE, ask } from './places.mjs';
import { logIn, somebody } from './telegram.mjs';

const SERVICES = fileURLToPath(new URL('../env/services.sh', import.meta.url));
const AWAY = 'The shop is taking a short break.';
const RECOVERY_MS = 40_000;

for (const shop of SHOPS) {
  test(`${shop.title}: the bank is away, then there again`, async () => {
    const { visitor } = await withSomething(shop, 'en');
    const { page } = visitor;
    visitor.allow(answered(502, '/cart'));
    await ask(`${SANDBOX}/bank/misbehave`, { call: 'register', how: '502', times: 100 });
    try {
      await page.locator('.summary .primary').click();
      await page.getByText('The bank does not answer right now.').waitFor();
      await visitor.picture('bank-away');
    } finally {
      await ask(`${SANDBOX}/bank/misbehave`, { call: 'register', times: 0 });
    }
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.locator('#payment-state').waitFor();
    await bank(await page.locator('img.qr').getAttribute('data-qr'), 'pay');
    await page.getByRole('heading', { level: 1, name: 'Paid. Thank you!' }).waitFor();
    await visitor.leave();
  });
}

test('the database stops and starts again while people browse', async () => {
  const [visitor, other] = await Promise.all(SHOPS.map((shop) => visitorOf(shop)));
  for (const person of [visitor, other]) {
    await person.enter('en');
    person.allow(isUnavailable);
  }
  service('stop', 'pg');
  try {
    for (const { page } of [visitor, other]) {
      await page.getByRole('searchbox').fill('unseen words');
      await page.locator('#outage').getByText(AWAY).waitFor();
    }
    await visitor.picture('outage');
  } finally {
    service('start', 'pg');
  }
  for (const person of [visitor, other]) {
    await person.page.getByRole('heading', { level: 1, name: 'unseen words' }).waitFor({ timeout: RECOVERY_MS });
    await person.page.locator('#outage').waitFor({ state: 'hidden' });
    await person.page.getByRole('searchbox').fill('');
    await person.page.locator('.card .add').first().click();
    await person.page.waitForFunction(() => document.querySelector('.bubble').innerText === '1');
    await person.leave();
  }
});

test('sessions are away: the catalogue is there all the same, and nobody is logged out', async () => {
  const visitor = await visitorOf(SHOPS[0]);
  const { page } = visitor;
  await visitor.enter('en');
  await logIn(visitor, somebody('Elena'));
  visitor.allow(isUnavailable);
  service('stop', 'redis');
  try {
    await page.reload();
    await visitor.settled();
    await page.locator('#outage').getByText(AWAY).waitFor();
    await page.locator('.tile').first().click();
    await page.locator('.trail').waitFor();
    assert.ok((await page.locator('.card').count()) > 0);
  } finally {
    service('start', 'redis');
  }
  await page.getByRole('banner').getByRole('button', { name: 'Elena' }).waitFor({ timeout: RECOVERY_MS });
  await page.locator('#outage').waitFor({ state: 'hidden' });
  await visitor.leave();
});

/** Takes a service of the environment away, or brings it back. */
function service(what, name) {
  execFileSync(SERVICES, [what, STATE, name], { stdio: 'inherit' });
}

/** Chromium's line about a 503. */
function isUnavailable({ kind, text }) {
  return kind === 'console' && text.includes('status of 503');
}
