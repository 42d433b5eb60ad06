// The shop during outages of the bank, the database and Redis: it reports them and recovers by itself.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { isStatus, visitorOf } from './browser.mjs';
import { bankAction, visitorWithCart } from './checkout.mjs';
import { SANDBOX, SHOPS, STATE, fetchJson } from './environment.mjs';
import { logIn, newUser } from './telegram.mjs';

const SERVICES = fileURLToPath(new URL('../env/services.sh', import.meta.url));
const OUTAGE_TEXT = 'The shop is taking a short break.';
const RECOVERY_MS = 40_000;

for (const shop of SHOPS) {
  test(`${shop.title}: the bank is unavailable, then recovers`, async () => {
    const { visitor } = await visitorWithCart(shop, 'en');
    const { page } = visitor;
    visitor.allow(isStatus(502, '/cart'));
    await fetchJson(`${SANDBOX}/bank/misbehave`, { call: 'register', how: '502', times: 100 });
    try {
      await page.locator('.summary .primary').click();
      await page.getByText('The bank does not answer right now.').waitFor();
      await visitor.screenshot('bank-unavailable');
    } finally {
      await fetchJson(`${SANDBOX}/bank/misbehave`, { call: 'register', times: 0 });
    }
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.locator('#payment-state').waitFor();
    await bankAction(await page.locator('img.qr').getAttribute('data-qr'), 'pay');
    await page.getByRole('heading', { level: 1, name: 'Paid. Thank you!' }).waitFor();
    await visitor.leave();
  });
}

// Each shop has goods of one of these words, which have to be read from the database.
const UNSEEN_WORDS = 'колонка персик';

test('the database is restarted while visitors browse', async () => {
  const [visitor, other] = await Promise.all(SHOPS.map((shop) => visitorOf(shop)));
  for (const person of [visitor, other]) {
    await person.enter('en');
    person.allow(isUnavailable);
  }
  controlService('stop', 'pg');
  try {
    for (const { page } of [visitor, other]) {
      await page.locator('input[type=search]').fill(UNSEEN_WORDS);
      await page.locator('#outage').getByText(OUTAGE_TEXT).waitFor();
    }
    await visitor.screenshot('outage');
  } finally {
    controlService('start', 'pg');
  }
  for (const person of [visitor, other]) {
    await person.page.getByRole('heading', { level: 1, name: UNSEEN_WORDS }).waitFor({ timeout: RECOVERY_MS });
    await person.page.locator('#outage').waitFor({ state: 'hidden' });
    await person.page.locator('input[type=search]').fill('');
    await person.page.locator('.card .add').first().click();
    await person.page.waitForFunction(() => document.querySelector('.bubble').innerText === '1');
    await person.leave();
  }
});

test('Redis is unavailable: the catalogue is available, and sessions survive', async () => {
  const visitor = await visitorOf(SHOPS[0]);
  const { page } = visitor;
  await visitor.enter('en');
  await logIn(visitor, newUser('Elena'));
  visitor.allow(isUnavailable);
  controlService('stop', 'redis');
  try {
    await page.reload();
    await visitor.settled();
    await page.locator('#outage').getByText(OUTAGE_TEXT).waitFor();
    await page.locator('.tile').first().click();
    await page.locator('.trail').waitFor();
    assert.ok((await page.locator('.card').count()) > 0);
  } finally {
    controlService('start', 'redis');
  }
  await page.getByRole('banner').getByRole('button', { name: 'Elena' }).waitFor({ timeout: RECOVERY_MS });
  await page.locator('#outage').waitFor({ state: 'hidden' });
  await visitor.leave();
});

/** Stops or starts a service of the environment. */
function controlService(command, name) {
  execFileSync(SERVICES, [command, STATE, name], { stdio: 'inherit' });
}

/** Matches Chromium's console message about a 503. */
function isUnavailable({ kind, text }) {
  return kind === 'console' && text.includes('status of 503');
}
