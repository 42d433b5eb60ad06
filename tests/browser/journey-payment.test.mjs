// Payments in both shops: pay, decline and expire at the bank, the receipt email, the review.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bankAction, checkOut, visitorWithCart } from './checkout.mjs';
import { SANDBOX, SHOPS, fetchJson } from './environment.mjs';

const TEXTS = {
  ru: { paid: 'Оплачено. Спасибо!', waiting: 'Ждём оплаты.', sent: 'Письмо отправлено на', thanks: 'Спасибо, отзыв опубликован.' },
  en: { paid: 'Paid. Thank you!', waiting: 'Waiting for your payment.', sent: 'The letter is on its way to', thanks: 'Thank you, your review is in.' },
  hy: { paid: 'Վճարված է։ Շնորհակալությո՛ւն։', waiting: 'Սպասում ենք վճարմանը։', sent: 'Նամակն ուղարկվում է', thanks: 'Շնորհակալություն, կարծիքը հրապարակված է։' },
};
const EMAIL_TIMEOUT_MS = 30_000;
const POLL_MS = 250;

for (const shop of SHOPS) {
  for (const [language, texts] of Object.entries(TEXTS)) {
    test(`${shop.title} in ${language}: from the cart to the email and the review`, async () => {
      const { visitor, name } = await visitorWithCart(shop, language);
      const { page } = visitor;
      const total = await page.locator('#total').innerText();
      const qrId = await checkOut(visitor);
      assert.equal(await page.locator('.pay .sum').innerText(), total);
      assert.match(await page.locator('#payment-left').innerText(), /^1?\d:\d\d$/);
      assert.ok(await page.locator('img.qr').evaluate((image) => image.decode().then(() => image.naturalWidth > 0)), 'the QR code image');
      assert.match(await page.locator('.pay a.button').getAttribute('href'), /^https?:/);
      assert.equal(await page.locator('#payment-state').innerText(), texts.waiting);
      await visitor.screenshot(`payment-${language}`);

      await bankAction(qrId, 'pay');
      await page.getByRole('heading', { level: 1, name: texts.paid }).waitFor();
      // The bought items are removed from the cart.
      await page.waitForFunction(() => document.querySelector('.bubble').innerText === '');
      const order = await page.locator('.technical').innerText();
      const email = `${shop.brand}-${language}-${Date.now()}@example.com`;
      await page.locator('input[type=email]').fill(email);
      await page.locator('form:has(input[type=email]) button').click();
      await page.getByText(texts.sent).waitFor();
      const received = await emailTo(email);
      // An order has the item names of the default language.
      const names = [name, (await fetchJson(shop.api + visitor.itemPath)).name];
      for (const text of [received.text, received.html]) assert.ok(text.includes(order) && names.some((one) => text.includes(one)), 'the order');
      assert.ok(received.text.includes(shop.title) || received.subject.includes(shop.title));

      const review = `${language} ${Date.now()} <b>&amp;`;
      await page.locator('.write summary').first().click();
      await page.locator('.write input[value="4"]').check({ force: true });
      await page.locator('.write textarea').fill(review);
      await page.locator('.write form button').click();
      await page.getByText(texts.thanks, { exact: true }).waitFor();
      await visitor.screenshot(`paid-${language}`);
      await page.reload();
      await page.getByRole('heading', { level: 1, name: texts.paid }).waitFor();
      await page.locator('.payment > button.primary').click();
      await page.waitForURL(`${shop.url}/`);
      await visitor.visit(visitor.itemPath);
      await page.locator('.review .text', { hasText: review }).waitFor();
      await visitor.leave();
    });
  }

  test(`${shop.title}: declined, then paid with the same code`, async () => {
    const { visitor } = await visitorWithCart(shop, 'en');
    const { page } = visitor;
    const qrId = await checkOut(visitor);
    await bankAction(qrId, 'decline');
    await pollsTwice(page, qrId);
    assert.equal(await page.locator('#payment-state').innerText(), TEXTS.en.waiting);
    await bankAction(qrId, 'pay');
    await page.getByRole('heading', { level: 1, name: TEXTS.en.paid }).waitFor();
    await visitor.leave();
  });

  test(`${shop.title}: an expired code is replaced by a new one`, async () => {
    const { visitor } = await visitorWithCart(shop, 'en');
    const { page } = visitor;
    const qrId = await checkOut(visitor);
    await bankAction(qrId, 'expire');
    await page.getByRole('heading', { level: 1, name: 'The code has expired' }).waitFor();
    await visitor.screenshot('expired');
    await page.getByRole('button', { name: 'New code' }).click();
    await page.locator('#payment-state').waitFor();
    const second = await page.locator('img.qr').getAttribute('data-qr');
    assert.notEqual(second, qrId);
    await bankAction(second, 'pay');
    await page.getByRole('heading', { level: 1, name: TEXTS.en.paid }).waitFor();
    await visitor.leave();
  });

  test(`${shop.title}: a reload and a lost response pay the same order`, async () => {
    const { visitor } = await visitorWithCart(shop, 'en');
    const { page } = visitor;
    const isPayment = (request) => request.method() === 'POST' && request.postData()?.includes('siteorderID');
    visitor.allow(({ kind, url, text }) => ['request', 'console'].includes(kind) && (url.endsWith('/cart') || text.includes('/cart')));
    // The API responds, but the response does not reach the browser.
    let isLost = false;
    await page.route('**/cart', async (route) => {
      if (isLost || !isPayment(route.request())) return route.continue();
      isLost = true;
      await route.fetch();
      return route.abort('connectionreset');
    });
    await page.locator('.summary .primary').click();
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.locator('#payment-state').waitFor();
    const qrId = await page.locator('img.qr').getAttribute('data-qr');
    await page.reload();
    await page.locator('#payment-state').waitFor();
    assert.equal(await page.locator('img.qr').getAttribute('data-qr'), qrId);
    await bankAction(qrId, 'pay');
    await page.getByRole('heading', { level: 1, name: TEXTS.en.paid }).waitFor();
    const order = await page.evaluate(() => JSON.parse(sessionStorage.getItem('checkout')).orderId);
    assert.equal((await fetchJson(`${shop.api}/qr/payment/${qrId}`)).order, order, 'the order of the lost response');
    await visitor.leave();
  });
}

/** Waits for two polls of the page. */
async function pollsTwice(page, qrId) {
  for (let polls = 0; polls < 2; polls++) await page.waitForResponse((response) => response.url().endsWith(`/qr/payment/${qrId}`));
}

async function emailTo(address) {
  for (const deadline = Date.now() + EMAIL_TIMEOUT_MS; Date.now() < deadline; await new Promise((done) => setTimeout(done, POLL_MS))) {
    const emails = await fetchJson(`${SANDBOX}/mail`);
    const email = emails.find(({ to }) => to.includes(address));
    if (email) return email;
  }
  return assert.fail(`no email to ${address}`);
}
