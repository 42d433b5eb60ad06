// The way to a payment, which several tests go.

import assert from 'node:assert/strict';

import { atSandbox, visitorOf } from './browser.mjs';
import { SANDBOX, ask } from './places.mjs';
import { logIn, somebody } from './telegram.mjs';

/** Somebody with one thing of plenty in the cart, on the cart's page. */
export async function withSomething(shop, language) {
  const visitor = await visitorOf(shop);
  const { page } = visitor;
  const item = await plentiful(shop, language);
  visitor.allow(atSandbox);
  visitor.itemPath = `/item/${item.itemID}`;
  await visitor.enter(language);
  await logIn(visitor, somebody('Galina'));
  await visitor.visit(visitor.itemPath);
  await page.locator('.about .add').click();
  await visitor.isTold(item.name);
  await page.locator('.basket').click();
  await page.locator('.line').waitFor();
  return { visitor, name: item.name };
}

/** An item that does not sell out however often this runs. */
async function plentiful(shop, language) {
  const headers = { 'X-Language': language };
  for (const category of await ask(`${shop.api}/category`)) {
    const items = await (await fetch(`${shop.api}/category/${category.id}?count=200`, { headers })).json();
    const item = items.find(({ quantity }) => quantity >= 50);
    if (item) return item;
  }
  return assert.fail('the demonstration catalogue has items of which there is plenty');
}

/** Begins the payment; resolves to the code. */
export async function checkOut({ page }) {
  await page.locator('.summary .primary').click();
  await page.locator('#payment-state').waitFor();
  return page.locator('img.qr').getAttribute('data-qr');
}

/** Pays, declines or expires a code at the bank. */
export function bank(qrId, what) {
  return ask(`${SANDBOX}/bank/qrs/${qrId}/${what}`, {});
}
