// Reviews on an item's page in both shops: by a visitor and by somebody who is logged in, and a second one in place of the first.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { visitorOf } from './browser.mjs';
import { SHOPS, ask } from './places.mjs';
import { logIn, somebody } from './telegram.mjs';

for (const shop of SHOPS) {
  for (const who of ['a visitor', 'somebody logged in']) {
    test(`${shop.title}: ${who} writes a review and another one`, async () => {
      const visitor = await visitorOf(shop, { width: 400 });
      const { page } = visitor;
      const [item] = await ask(`${shop.api}/randomitems?count=1`);
      await visitor.enter('en');
      if (who !== 'a visitor') await logIn(visitor, somebody('Zoya'));
      await visitor.visit(`/item/${item.itemID}`);
      const first = `First ${Date.now()}\n<script>alert(1)</script> & "quotes"`;
      await write(page, 2, first);
      await seen(page, first);
      await visitor.visit(`/item/${item.itemID}`);
      const second = `Second ${Date.now()} 👍 հիանալի`;
      await write(page, 5, second);
      await seen(page, second);
      const texts = (await ask(`${shop.api}/item/${item.itemID}`)).comments.map(({ text }) => text);
      assert.equal(texts.filter((text) => text === second).length, 1);
      assert.ok(!texts.includes(first), 'the second replaced the first');
      await visitor.fits();
      await visitor.leave();
    });
  }
}

async function write(page, stars, text) {
  await page.locator('.write summary').click();
  await page.locator(`.write input[value="${stars}"]`).check({ force: true });
  await page.locator('.write textarea').fill(text);
  await page.locator('.write button.primary').click();
  await page.getByText('Thank you, your review is in.').waitFor();
}

async function seen(page, text) {
  await page.waitForFunction((wanted) => [...document.querySelectorAll('.review .text')].some((review) => review.textContent === wanted), text);
}
