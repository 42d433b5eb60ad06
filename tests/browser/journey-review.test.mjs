// Reviews in both shops, by an anonymous visitor and by a logged-in user; a second review replaces the first.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { visitorOf } from './browser.mjs';
import { SHOPS, fetchJson } from './environment.mjs';
import { logIn, newUser } from './telegram.mjs';

for (const shop of SHOPS) {
  for (const author of ['an anonymous visitor', 'a logged-in user']) {
    test(`${shop.title}: ${author} replaces a review`, async () => {
      const visitor = await visitorOf(shop, { width: 400 });
      const { page } = visitor;
      const [item] = await fetchJson(`${shop.api}/randomitems?count=1`);
      await visitor.enter('en');
      if (author !== 'an anonymous visitor') await logIn(visitor, newUser('Zoya'));
      await visitor.visit(`/item/${item.itemID}`);
      const first = `First ${Date.now()}\n<script>alert(1)</script> & "quotes"`;
      await submitReview(page, 2, first);
      await waitForReview(page, first);
      await visitor.visit(`/item/${item.itemID}`);
      const second = `Second ${Date.now()} 👍 հիանալի`;
      await submitReview(page, 5, second);
      await waitForReview(page, second);
      const texts = (await fetchJson(`${shop.api}/item/${item.itemID}`)).comments.map(({ text }) => text);
      assert.equal(texts.filter((text) => text === second).length, 1);
      assert.ok(!texts.includes(first), 'the second replaced the first');
      await visitor.hasNoOverflow();
      await visitor.leave();
    });
  }
}

async function submitReview(page, stars, text) {
  await page.locator('.write summary').click();
  await page.locator(`.write input[value="${stars}"]`).check({ force: true });
  await page.locator('.write textarea').fill(text);
  await page.locator('.write button.primary').click();
  await page.getByText('Thank you, your review is in.').waitFor();
}

async function waitForReview(page, text) {
  await page.waitForFunction((wanted) => [...document.querySelectorAll('.review .text')].some((review) => review.textContent === wanted), text);
}
