// The pictures of the README: a front page, a payment, a login with the chat beside it. Called by `make screenshots`.

import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { atSandbox, visitorOf } from './browser.mjs';
import { checkOut } from './paying.mjs';
import { ALL_SHOPS, SANDBOX, ask } from './places.mjs';
import { logIn, somebody } from './telegram.mjs';

const DIRECTORY = fileURLToPath(new URL('screenshots/', import.meta.url));
const WIDTH = 1280;
const HEIGHT = 800;
/** Down to the names and prices below the first row of things. */
const SHOP_HEIGHT = 1065;
const CHAT_WIDTH = 420;
const GAP = 12;
const QUALITY = 80;
/** One of the people of the chat page. */
const JOHN = '100200302';

const [dexar, novo] = ALL_SHOPS;
mkdirSync(DIRECTORY, { recursive: true });

test('the front page of Dexar', async () => {
  const visitor = await visitorOf(dexar, { width: WIDTH, height: SHOP_HEIGHT });
  await visitor.enter('en');
  await photograph(visitor.page, 'shop');
  await visitor.leave();
});

test('a payment in Novo, in the dark', async () => {
  const visitor = await visitorOf(novo, { width: WIDTH, height: HEIGHT, dark: true });
  const { page } = visitor;
  visitor.allow(atSandbox);
  await visitor.enter('en');
  await logIn(visitor, somebody('Anna'));
  const [category] = await ask(`${novo.api}/category`);
  const items = await ask(`${novo.api}/category/${category.id}?count=200`);
  for (const { itemID } of items.filter(({ quantity }) => quantity >= 50).slice(0, 3)) {
    await visitor.visit(`/item/${itemID}`);
    await page.locator('.about .add').click();
    await page.locator('.message').first().waitFor();
  }
  await page.locator('.basket').click();
  await page.locator('.line').first().waitFor();
  await checkOut(visitor);
  await photograph(page, 'payment');
  await visitor.leave();
});

test('a login to Dexar beside the chat', async () => {
  const visitor = await visitorOf(dexar, { width: WIDTH - CHAT_WIDTH - GAP, height: HEIGHT });
  visitor.allow(atSandbox);
  await visitor.enter('en');
  await visitor.page.getByRole('button', { name: 'Log in' }).click();
  await visitor.page.getByRole('button', { name: 'Log in with a number' }).click();
  const link = await visitor.page.locator('#login-link').getAttribute('href');
  const chat = await visitor.open();
  await chat.setViewportSize({ width: CHAT_WIDTH, height: HEIGHT });
  await chat.goto(SANDBOX);
  await chat.evaluate((id) => localStorage.setItem('telegram.chosen', JSON.stringify(id)), JOHN);
  await chat.goto(link);
  await chat.getByRole('button', { name: 'START' }).click();
  await chat.locator('#log .row').last().waitFor();
  const halves = [];
  for (const page of [visitor.page, chat]) {
    await page.bringToFront();
    await settle(page);
    halves.push(`<img src="data:image/png;base64,${(await page.screenshot()).toString('base64')}">`);
  }
  const both = await visitor.context.newPage();
  await both.setViewportSize({ width: WIDTH, height: HEIGHT });
  await both.setContent(`<body style="margin:0;display:flex;gap:${GAP}px;background:#8a94a6">${halves.join('')}`);
  await photograph(both, 'login');
  await visitor.leave();
});

/** Playwright knows no WebP, which is a third of a PNG. */
async function photograph(page, name) {
  await settle(page);
  const devtools = await page.context().newCDPSession(page);
  const { data } = await devtools.send('Page.captureScreenshot', { format: 'webp', quality: QUALITY });
  writeFileSync(`${DIRECTORY}${name}.webp`, Buffer.from(data, 'base64'));
}

/** All pictures of the page are there, nothing is told in passing, and nothing is pointed at. */
async function settle(page) {
  await page.mouse.move(0, 0);
  await page.waitForFunction(() => !document.querySelector('.message') && [...document.images].every((image) => image.loading === 'lazy' || image.complete));
}
