// Paying in both shops: the QR code, Pay, Decline and Expire at the bank, the letter, the review.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bank, checkOut, withSomething } from './paying.mjs';
import { SANDBOX, SHOPS, ask } from './places.mjs';

const WORDS = {
  ru: { paid: 'Оплачено. Спасибо!', waiting: 'Ждём оплаты.', sent: 'Письмо отправлено на', thanks: 'Спасибо, отзыв опубликован.' },
  en: { paid: 'Paid. Thank you!', waiting: 'Waiting for your payment.', sent: 'The letter is on its way to', thanks: 'Thank you, your review is in.' },
  hy: { paid: 'Վճարված է։ Շնորհակալությո՛ւն։', waiting: 'Սպասում ենք վճարմանը։', sent: 'Նամակն ուղարկվում է', thanks: 'Շնորհակալություն, կարծիքը հրապարակված է։' },
};
const LETTER_PATIENCE_MS = 30_000;
const LOOK_MS = 250;

for (const shop of SHOPS) {
  for (const [language, words] of Object.entries(WORDS)) {
    test(`${shop.title} in ${language}: from the cart to the letter and the review`, async () => {
      const { visitor, name } = await withSomething(shop, language);
      const { page } = visitor;
      const total = await page.locator('#total').innerText();
      const qrId = await checkOut(visitor);
      assert.equal(await page.locator('.pay .sum').innerText(), total);
      assert.match(await page.locator('#payment-left').innerText(), /^1?\d:\d\d$/);
      assert.ok(await page.locator('img.qr').evaluate((image) => image.decode().then(() => image.naturalWidth > 0)), 'the QR picture');
      assert.match(await page.locator('.pay a.button').getAttribute('href'), /^https?:/);
      assert.equal(await page.locator('#payment-state').innerText(), words.waiting);
      await visitor.picture(`payment-${language}`);

      await bank(qrId, 'pay');
      await page.getByRole('heading', { level: 1, name: words.paid }).waitFor();
      // What was bought is not in the cart any more.
      await page.waitForFunction(() => document.querySelector('.bubble').innerText === '');
      const order = await page.locator('.technical').innerText();
      const email = `${shop.brand}-${language}-${Date.now()}@example.com`;
      await page.locator('input[type=email]').fill(email);
      await page.locator('form:has(input[type=email]) button').click();
      await page.getByText(words.sent).waitFor();
      const letter = await letterTo(email);
      // An order keeps the names that the catalogue has without a language.
      const names = [name, (await ask(shop.api + visitor.itemPath)).name];
      for (const text of [letter.text, letter.html]) assert.ok(text.includes(order) && names.some((one) => text.includes(one)), 'what was bought');
      assert.ok(letter.text.includes(shop.title) || letter.subject.includes(shop.title));

      const review = `${language} ${Date.now()} <b>&amp;`;
      await page.locator('.write summary').first().click();
      await page.locator('.write input[value="4"]').check({ force: true });
      await page.locator('.write textarea').fill(review);
      await page.locator('.write form button').click();
      await page.getByText(words.thanks, { exact: true }).waitFor();
      await visitor.picture(`paid-${language}`);
      await page.reload();
      await page.getByRole('heading', { level: 1, name: words.paid }).waitFor();
      await page.locator('.payment > button.primary').click();
      await page.waitForURL(`${shop.url}/`);
      await visitor.visit(visitor.itemPath);
      await page.locator('.review .text', { hasText: review }).waitFor();
      await visitor.leave();
    });
  }

  test(`${shop.title}: declined at the bank, then paid with the same code`, async () => {
    const { visitor } = await withSomething(shop, 'en');
    const { page } = visitor;
    const qrId = await checkOut(visitor);
    await bank(qrId, 'decline');
    await looksTwice(page, qrId);
    assert.equal(await page.locator('#payment-state').innerText(), WORDS.en.waiting);
    await bank(qrId, 'pay');
    await page.getByRole('heading', { level: 1, name: WORDS.en.paid }).waitFor();
    await visitor.leave();
  });

  test(`${shop.title}: an expired code, and a new one`, async () => {
    const { visitor } = await withSomething(shop, 'en');
    const { page } = visitor;
    const qrId = await checkOut(visitor);
    await bank(qrId, 'expire');
    await page.getByRole('heading', { level: 1, name: 'The code has expired' }).waitFor();
    await visitor.picture('expired');
    await page.getByRole('button', { name: 'New code' }).click();
    await page.locator('#payment-state').waitFor();
    const second = await page.locator('img.qr').getAttribute('data-qr');
    assert.notEqual(second, qrId);
    await bank(second, 'pay');
    await page.getByRole('heading', { level: 1, name: WORDS.en.paid }).waitFor();
    await visitor.leave();
  });

  test(`${shop.title}: a reload and a lost answer pay the same order`, async () => {
    const { visitor } = await withSomething(shop, 'en');
    const { page } = visitor;
    const isPayment = (request) => request.method() === 'POST' && request.postData()?.includes('siteorderID');
    visitor.allow(({ kind, url, text }) => ['request', 'console'].includes(kind) && (url.endsWith('/cart') || text.includes('/cart')));
    // The API answers, the visitor's browser never hears of it.
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
    await bank(qrId, 'pay');
    await page.getByRole('heading', { level: 1, name: WORDS.en.paid }).waitFor();
    const order = await page.evaluate(() => JSON.parse(sessionStorage.getItem('checkout')).orderId);
    assert.equal((await ask(`${shop.api}/qr/payment/${qrId}`)).order, order, 'the order of the answer that was lost');
    await visitor.leave();
  });
}

/** Waits until the page has asked again, twice. */
async function looksTwice(page, qrId) {
  for (let looks = 0; looks < 2; looks++) await page.waitForResponse((response) => response.url().endsWith(`/qr/payment/${qrId}`));
}

async function letterTo(address) {
  for (const deadline = Date.now() + LETTER_PATIENCE_MS; Date.now() < deadline; await new Promise((done) => setTimeout(done, LOOK_MS))) {
    const letters = await ask(`${SANDBOX}/mail`);
    const letter = letters.find(({ to }) => to.includes(address));
    if (letter) return letter;
  }
  return assert.fail(`no letter came to ${address}`);
}
