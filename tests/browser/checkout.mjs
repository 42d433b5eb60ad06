// Steps up to a payment.

import assert from 'node:assert/strict';

import { isSandboxProblem, visitorOf } from './browser.mjs';
import { SANDBOX, fetchJson } from './environment.mjs';
import { logIn, newUser } from './telegram.mjs';

/** A logged-in visitor on the cart page, with an item of plentiful stock in the cart. */
export async function visitorWithCart(shop, language) {
  const visitor = await visitorOf(shop);
  const { page } = visitor;
  const item = await plentifulItem(shop, language);
  visitor.allow(isSandboxProblem);
  visitor.itemPath = `/item/${item.itemID}`;
  await visitor.enter(language);
  await logIn(visitor, newUser('Galina'));
  await visitor.visit(visitor.itemPath);
  await page.locator('.about .add').click();
  await visitor.seesMessage(item.name);
  await page.locator('.basket').click();
  await page.locator('.line').waitFor();
  return { visitor, name: item.name };
}

/** An item whose stock suffices for many test runs. */
async function plentifulItem(shop, language) {
  const headers = { 'X-Language': language };
  for (const category of await fetchJson(`${shop.api}/category`)) {
    const items = await (await fetch(`${shop.api}/category/${category.id}?count=200`, { headers })).json();
    const item = items.find(({ quantity }) => quantity >= 50);
    if (item) return item;
  }
  return assert.fail('the demonstration catalogue has no item with plentiful stock');
}

/** Starts the payment; resolves to the id of the QR code. */
export async function checkOut({ page }) {
  await page.locator('.summary .primary').click();
  await page.locator('#payment-state').waitFor();
  return page.locator('img.qr').getAttribute('data-qr');
}

/** Pays, declines or expires a QR code at the bank. */
export function bankAction(qrId, action) {
  return fetchJson(`${SANDBOX}/bank/qrs/${qrId}/${action}`, {});
}
