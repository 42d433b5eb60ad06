// Browsing both shops in all languages, without a login: categories, search, items, regions, cart.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isStatus, visitorOf } from './browser.mjs';
import { SHOPS, fetchJson } from './environment.mjs';

const TEXTS = {
  ru: { categories: 'Категории', cart: 'Корзина', found: 'Найдено', more: 'Показать ещё', left: 'Осталось' },
  en: { categories: 'Categories', cart: 'Cart', found: 'Found', more: 'Show more', left: 'Left' },
  hy: { categories: 'Բաժիններ', cart: 'Զամբյուղ', found: 'Գտնվել է', more: 'Ցույց տալ ավելին', left: 'Մնացել է' },
};
const SEARCHES = { dexar: { ru: 'яблоко', en: 'apple', hy: 'խնձոր' }, novo: { ru: 'лампочка', en: 'bulb', hy: 'լամպ' } };
const PAGE_SIZE = 24;

for (const shop of SHOPS) {
  for (const [language, texts] of Object.entries(TEXTS)) {
    test(`${shop.title} in ${language}: from the home page to the cart`, async () => {
      const visitor = await visitorOf(shop);
      const { page } = visitor;
      await visitor.enter(language);
      assert.equal(await page.getAttribute('html', 'lang'), language);
      assert.equal(await page.title(), shop.title);
      await page.getByRole('heading', { name: texts.categories }).waitFor();
      assert.equal(await page.locator('.grid .card').count(), 8, 'random items');
      await visitor.screenshot(`front-${language}`);

      const tile = page.locator('.tile').first();
      const category = await tile.locator('.name').innerText();
      const count = Number(await tile.locator('.count').innerText());
      await tile.click();
      await page.getByRole('heading', { level: 1, name: category }).waitFor();
      assert.ok(count > PAGE_SIZE, 'more than one page');
      assert.equal(await page.locator('.card').count(), PAGE_SIZE);
      await showAll(page, texts.more);
      assert.equal(await page.locator('.card').count(), count, 'the item count of the category tree');
      await visitor.screenshot(`category-${language}`);

      const wanted = SEARCHES[shop.brand][language];
      await page.locator('input[type=search]').pressSequentially(wanted, { delay: 30 });
      await page.getByRole('heading', { level: 1, name: wanted }).waitFor();
      const found = await page.locator('.found').innerText();
      assert.ok(found.startsWith(texts.found) && /[1-9]/.test(found), found);
      assert.ok(await page.locator('input[type=search]').evaluate((field) => field === document.activeElement), 'the search field keeps the focus');
      await page.keyboard.press('Enter');

      await page.locator('.card:has(.add) a').first().click();
      await page.waitForURL('**/item/**');
      await visitor.settled();
      const name = await visitor.heading();
      assert.ok(await page.locator('.gallery img').evaluate((image) => image.complete && image.naturalWidth > 0), 'the photo');
      await page.locator('.about .add').click();
      await visitor.seesMessage(name);
      await visitor.screenshot(`item-${language}`);

      await page.locator('.basket').click();
      await page.getByRole('heading', { level: 1, name: texts.cart }).waitFor();
      assert.equal(await page.locator('.line').count(), 1);
      assert.equal(await page.locator('.line .sum').innerText(), await page.locator('#total').innerText());
      await visitor.leave();
    });
  }

  test(`${shop.title}: the cart is exact to the kopeck, limited by the stock, and can be emptied`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    const item = await scarceItem(shop);
    await visitor.enter('en');
    await visitor.visit(`/item/${item.itemID}`);
    await page.locator('.about .add').click();
    await visitor.seesMessage(item.name);
    await page.locator('.basket').click();
    await page.locator('.line').waitFor();
    const quantity = page.locator('.line input');
    const discounted = Math.floor((Math.round(item.price * 100) * (100 - item.discount) + 50) / 100);
    const kopecks = item.salePrice ? Math.round(item.salePrice * 100) : discounted;
    const expected = (units) => new RegExp(`^₽${Math.floor((kopecks * units) / 100).toLocaleString('en')}(\\.|$)`);
    assert.match(await page.locator('#total').innerText(), expected(1));
    for (let units = 2; units <= item.quantity; units++) {
      await page.getByRole('button', { name: /^One more/ }).click();
      await page.waitForFunction((value) => document.querySelector('.line input').value === value, String(units));
    }
    assert.match(await page.locator('#total').innerText(), expected(item.quantity));
    visitor.allow(isStatus(409, '/cart'));
    await page.getByRole('button', { name: /^One more/ }).click();
    await visitor.seesMessage(`Left: ${item.quantity}`);
    assert.equal(await quantity.inputValue(), String(item.quantity));
    await quantity.fill('999');
    await quantity.press('Tab');
    await page.waitForFunction((value) => document.querySelector('.line input').value === value, String(item.quantity));
    await page.getByRole('button', { name: /^Remove/ }).click();
    await page.getByText('Your cart is empty.').waitFor();
    assert.equal(await page.locator('.bubble').innerText(), '');
    await visitor.leave();
  });

  test(`${shop.title}: a region hides unavailable items`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    const counts = async (region) => {
      const headers = region ? { 'X-Region': region } : {};
      const tree = await (await fetch(`${shop.api}/category`, { headers })).json();
      return tree.map(({ itemCount }) => String(itemCount));
    };
    await visitor.enter('en');
    assert.deepEqual(await page.locator('.tile .count').allInnerTexts(), await counts(''));
    await page.locator('.choice').click();
    await page.locator('dialog select[name=shop-region]').selectOption('yerevan');
    await page.locator('dialog button.primary').click();
    const there = await counts('yerevan');
    assert.notDeepEqual(there, await counts(''), 'the catalogue has items for some regions only');
    await page.waitForFunction((expected) => JSON.stringify([...document.querySelectorAll('.tile .count')].map((count) => count.innerText)) === expected, JSON.stringify(there));
    await page.reload();
    await visitor.settled();
    assert.equal(await page.getByRole('dialog').count(), 0, 'the choice is stored');
    assert.deepEqual(await page.locator('.tile .count').allInnerTexts(), there);
    await visitor.leave();
  });

  test(`${shop.title}: keyboard navigation in a small dark window`, async () => {
    const visitor = await visitorOf(shop, { width: 400, height: 800, dark: true });
    const { page } = visitor;
    await page.goto(shop.url);
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await visitor.settled();
    await visitor.visit('/');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    const first = await page.locator('.tile').first().elementHandle();
    await page.locator('#skip').focus();
    await page.keyboard.press('Enter');
    await page.waitForURL('**/#main');
    await visitor.settled();
    await tabTo(page, '.tile');
    assert.ok(await first.evaluate((tile) => document.activeElement === tile), 'the header is skipped and the page unchanged');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/category/**');
    await visitor.settled();
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1', 'the new heading has the focus');
    await tabTo(page, '.add');
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'none', 'focus is visible');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('.bubble').innerText === '1');
    for (const path of ['/', '/cart', '/search?q=a', '/payment']) {
      await visitor.visit(path);
      await page.keyboard.press('Escape');
      await visitor.hasNoOverflow();
    }
    await visitor.screenshot('small-dark');
    await visitor.leave();
  });

  test(`${shop.title}: plain HTTP is redirected, unknown pages and files are not found`, async () => {
    const visitor = await visitorOf(shop);
    await visitor.page.goto(shop.url.replace('https:', 'http:'));
    assert.equal(new URL(visitor.page.url()).protocol, 'https:');
    // Navigation during loading would report aborted requests.
    await visitor.page.waitForLoadState('networkidle');
    await visitor.enter('en');
    await visitor.visit('/nowhere');
    assert.equal(await visitor.heading(), 'There is no such page');
    visitor.allow(isStatus(404, '/item/1'));
    await visitor.visit('/item/1');
    assert.equal(await visitor.heading(), 'There is no such page');
    assert.equal((await fetch(`${shop.url}/none.js`)).status, 404);
    await visitor.leave();
  });
}

/** Loads all pages of the list. */
async function showAll(page, label) {
  const more = page.getByRole('button', { name: label });
  while (await more.isVisible()) {
    const before = await page.locator('.card').count();
    await more.click();
    await page.waitForFunction((count) => document.querySelectorAll('.card').length > count, before);
  }
}

/** An item with two to five units in stock. */
async function scarceItem(shop) {
  for (const category of await fetchJson(`${shop.api}/category`)) {
    const response = await fetch(`${shop.api}/category/${category.id}?count=200`, { headers: { 'X-Language': 'en' } });
    const item = (await response.json()).find(({ quantity }) => quantity >= 2 && quantity <= 5);
    if (item) return item;
  }
  return assert.fail('the demonstration catalogue has no item with low stock');
}

/** Presses Tab until an element that matches has the focus. */
async function tabTo(page, selector) {
  for (let presses = 0; presses < 80; presses++) {
    await page.keyboard.press('Tab');
    if (await page.evaluate((kind) => document.activeElement.matches(kind), selector)) return;
  }
  assert.fail(`${selector} cannot be reached`);
}
