// Suggestions, corrected searches, order and filters in both shops, by keyboard; the page shows what the API returns.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { visitorOf } from './browser.mjs';
import { SHOPS } from './environment.mjs';

const PAGE_SIZE = 24;
const PREFIXES = { dexar: 'app', novo: 'sta' };
/** A word in the keyboard layout of another language, and what was meant. */
const SLIPS = { dexar: ['xfqybr', 'чайник'], novo: ['kfvgjxrf', 'лампочка'] };

for (const shop of SHOPS) {
  test(`${shop.title}: suggestions by keyboard and by pointer`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    const prefix = PREFIXES[shop.brand];
    const { queries, categories, items } = await fromApi(shop, `/suggest?search=${prefix}&count=4`);
    const expected = [...queries, ...categories.map(({ name }) => name), ...items.map(({ name }) => name)];
    assert.ok(queries.length > 0 && items.length > 0, 'suggestions of both kinds');
    await visitor.enter('en');
    const field = page.locator('input[type=search]');
    const options = page.locator('#suggestions [role=option]');
    const active = () => page.evaluate(() => document.getElementById(document.querySelector('input[type=search]').getAttribute('aria-activedescendant'))?.firstChild.innerText);
    await field.pressSequentially(prefix);
    await options.first().waitFor();
    assert.deepEqual(await options.locator('span:first-child').allInnerTexts(), expected);
    assert.equal(await field.getAttribute('aria-expanded'), 'true');
    await field.press('ArrowDown');
    assert.equal(await active(), queries[0]);
    await field.press('ArrowUp');
    await field.press('ArrowUp');
    assert.equal(await active(), items.at(-1).name, 'from the field upward to the last');
    await field.press('Escape');
    await page.locator('#suggestions').waitFor({ state: 'hidden' });
    assert.equal(await field.inputValue(), prefix, 'Escape closes the list only');
    await field.press('Enter');
    await page.getByRole('heading', { level: 1, name: prefix }).waitFor();

    await field.fill('');
    await field.pressSequentially(prefix);
    await options.first().waitFor();
    await field.press('ArrowUp');
    await field.press('Enter');
    await page.getByRole('heading', { level: 1, name: items.at(-1).name }).waitFor();
    assert.equal(new URL(page.url()).pathname, `/item/${items.at(-1).itemID}`);
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1', 'the heading has the focus');

    await field.fill(prefix);
    await options.first().click();
    await page.getByRole('heading', { level: 1, name: queries[0] }).waitFor();
    assert.equal(await field.inputValue(), queries[0]);
    await visitor.leave();
  });

  test(`${shop.title}: a search is corrected, or exact`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    const [typed, meant] = SLIPS[shop.brand];
    await visitor.enter('en');
    await visitor.visit(`/search?q=${typed}`);
    await page.getByText(`These are results for “${meant}”.`).waitFor();
    assert.ok((await page.locator('.card').count()) > 0);
    await page.getByRole('link', { name: `Search for exactly “${typed}”` }).click();
    await page.getByText('There is nothing here.').waitFor();
    await visitor.leave();
  });

  test(`${shop.title}: order and filters of a category`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    const [category] = await fromApi(shop, '/category');
    await visitor.enter('en');
    await visitor.visit(`/category/${category.id}`);
    const shows = (parameters) => showsItems(page, fromApi(shop, `/category/${category.id}?count=${PAGE_SIZE}${parameters}`));
    await shows('');
    const order = page.locator('select[name=sort]');
    await order.focus();
    await order.selectOption('-price');
    await shows('&sort=-price');
    assert.ok(await order.evaluate((select) => select === document.activeElement), 'the focus stays');
    await page.locator('.filters summary').press('Enter');
    await page.getByLabel('In stock').press('Space');
    await shows('&sort=-price&inStock=true');
    assert.ok(await page.getByLabel('In stock').evaluate((box) => box === document.activeElement && box.checked), 'the focus stays');
    const { price } = await fromApi(shop, `/category/${category.id}/facets?inStock=true`);
    const middle = Math.round((price.min + price.max) / 2);
    await page.getByLabel('Price to, ₽').fill(String(middle));
    await page.getByLabel('Price to, ₽').press('Enter');
    await shows(`&sort=-price&inStock=true&priceMax=${middle}`);
    await page.reload();
    await visitor.settled();
    await shows(`&sort=-price&inStock=true&priceMax=${middle}`);
    await page.getByRole('link', { name: 'Reset the filters' }).click();
    await shows('&sort=-price');
    await visitor.leave();
  });

  test(`${shop.title}: categories and tags of a search`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    const prefix = PREFIXES[shop.brand];
    const { facets } = await fromApi(shop, `/searchitems?search=${prefix}&facets=true`);
    await visitor.enter('en');
    await visitor.visit(`/search?q=${prefix}`);
    const shows = async (parameters) => showsItems(page, (await fromApi(shop, `/searchitems?search=${prefix}&count=${PAGE_SIZE}${parameters}`)).items);
    await page.locator('.filters summary').press('Enter');
    const [{ id, name, count }] = facets.categories;
    await page.locator('select[name=category]').selectOption({ label: `${name} (${count})` });
    await shows(`&category=${id}`);
    assert.equal(await page.locator('.card').count(), Math.min(count, PAGE_SIZE), 'as many as the facet says');
    const { facets: { tags } } = await fromApi(shop, `/searchitems?search=${prefix}&category=${id}&facets=true`);
    for (const { tag, count: hits } of tags.slice(0, 1)) {
      await page.getByLabel(`${tag} (${hits})`, { exact: true }).press('Space');
      await shows(`&category=${id}&tags=${encodeURIComponent(tag)}`);
      assert.equal(await page.locator('.card').count(), Math.min(hits, PAGE_SIZE));
    }
    await visitor.leave();
  });
}

/** A response of the API in English. */
async function fromApi(shop, path) {
  const response = await fetch(shop.api + path, { headers: { 'X-Language': 'en' } });
  assert.equal(response.status, 200, path);
  return response.json();
}

/** Waits until the page shows these items, in this order. */
async function showsItems(page, items) {
  const ids = (await items).map(({ itemID }) => String(itemID));
  await page.waitForFunction((expected) => JSON.stringify([...document.querySelectorAll('.card')].map((card) => card.dataset.item)) === expected, JSON.stringify(ids));
}
