// Both shops while the network is down: they report it and recover by themselves.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { visitorOf } from './browser.mjs';
import { SHOPS } from './environment.mjs';

for (const shop of SHOPS) {
  test(`${shop.title}: the network fails and recovers`, async () => {
    const visitor = await visitorOf(shop);
    const { page, context } = visitor;
    await visitor.enter('en');
    visitor.allow(({ text }) => text.includes('ERR_INTERNET_DISCONNECTED'));
    await context.setOffline(true);
    await page.locator('.tile').first().click();
    const banner = page.locator('#outage');
    await banner.getByText('The shop cannot be reached right now.').waitFor();
    assert.ok(await page.locator('.tile').first().isVisible(), 'the previous page stays');
    await context.setOffline(false);
    await page.waitForURL('**/category/**');
    await visitor.settled();
    await page.locator('.card').first().waitFor();
    await banner.waitFor({ state: 'hidden' });
    await visitor.seesMessage('The shop is back.');
    await visitor.leave();
  });

  test(`${shop.title}: a write without network reports an error and can be repeated`, async () => {
    const visitor = await visitorOf(shop);
    const { page, context } = visitor;
    await visitor.enter('en');
    visitor.allow(({ text }) => text.includes('ERR_INTERNET_DISCONNECTED'));
    await context.setOffline(true);
    const add = page.locator('.card .add').first();
    await add.click();
    await visitor.seesMessage('The shop cannot be reached right now.');
    await context.setOffline(false);
    await add.click();
    await page.waitForFunction(() => document.querySelector('.bubble').innerText === '1');
    await visitor.leave();
  });
}
