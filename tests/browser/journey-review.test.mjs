// Reviews in both shops, by an anonymous visitor and by a logged-in user, of which the second replaces the first; questions and votes.

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

  test(`${shop.title}: votes on a question, and a new question, by keyboard`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    const item = await itemWithQuestion(shop);
    const counts = async () => {
      const { questions } = await fetchJson(`${shop.api}/item/${item.itemID}`);
      const { upvotes, downvotes } = questions.find(({ id }) => id === item.questions[0].id);
      return [upvotes, downvotes];
    };
    const [up, down] = await counts();
    await visitor.enter('en');
    await visitor.visit(`/item/${item.itemID}`);
    const vote = (direction) => page.locator(`[data-vote="${direction}-${item.questions[0].id}"]`);
    await vote('up').press('Enter');
    await page.waitForFunction(({ id, votes }) => document.querySelector(`[data-vote="up-${id}"]`).innerText === votes, { id: item.questions[0].id, votes: String(up + 1) });
    assert.ok(await vote('up').evaluate((button) => button === document.activeElement), 'the focus stays');
    assert.deepEqual(await counts(), [up + 1, down]);
    await vote('down').press('Enter');
    await page.waitForFunction(({ id, votes }) => document.querySelector(`[data-vote="down-${id}"]`).innerText === votes, { id: item.questions[0].id, votes: String(down + 1) });
    assert.deepEqual(await counts(), [up, down + 1], 'the second vote replaced the first');
    await page.locator('#questions summary').press('Enter');
    await page.locator('#questions textarea').fill(`Is it for the garden? ${Date.now()}`);
    await page.locator('#questions .primary').press('Enter');
    await page.getByText('Thank you. The question appears here once the shop has answered it.').waitFor();
    await visitor.leave();
  });
}

async function itemWithQuestion(shop) {
  for (const category of await fetchJson(`${shop.api}/category`)) {
    const items = await fetchJson(`${shop.api}/category/${category.id}?count=200`);
    const item = items.find(({ questions }) => questions.length > 0);
    if (item) return item;
  }
  return assert.fail('the demonstration catalogue has no item with a question');
}

async function submitReview(page, stars, text) {
  await page.locator('#reviews .write summary').click();
  await page.locator(`#reviews input[value="${stars}"]`).check({ force: true });
  await page.locator('#reviews textarea').fill(text);
  await page.locator('#reviews button.primary').click();
  await page.getByText('Thank you, your review is in.').waitFor();
}

async function waitForReview(page, text) {
  await page.waitForFunction((wanted) => [...document.querySelectorAll('.review .text')].some((review) => review.textContent === wanted), text);
}
