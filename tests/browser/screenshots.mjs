// The screenshots of the README: a home page, a payment, and a login beside the chat (`make screenshots`).

import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { isSandboxProblem, visitorOf } from './browser.mjs';
import { checkOut } from './checkout.mjs';
import { ALL_SHOPS, SANDBOX, fetchJson } from './environment.mjs';
import { logIn, newUser } from './telegram.mjs';

const DIRECTORY = fileURLToPath(new URL('screenshots/', import.meta.url));
const WIDTH = 1280;
const HEIGHT = 800;
/** Includes the names and prices of the first row of items. */
const SHOP_HEIGHT = 1110;
const CHAT_WIDTH = 420;
const GAP = 12;
const QUALITY = 80;
/** The id of a user of the chat page. */
const JOHN = '100200302';

const [dexar, novo] = ALL_SHOPS;
mkdirSync(DIRECTORY, { recursive: true });

test('the home page of Dexar', async () => {
  const visitor = await visitorOf(dexar, { width: WIDTH, height: SHOP_HEIGHT });
  await visitor.enter('en');
  await screenshot(visitor.page, 'shop');
  await visitor.leave();
});

test('a payment in Novo, in dark mode', async () => {
  const visitor = await visitorOf(novo, { width: WIDTH, height: HEIGHT, dark: true });
  const { page } = visitor;
  visitor.allow(isSandboxProblem);
  await visitor.enter('en');
  await logIn(visitor, newUser('Anna'));
  const [category] = await fetchJson(`${novo.api}/category`);
  const items = await fetchJson(`${novo.api}/category/${category.id}?count=200`);
  for (const { itemID } of items.filter(({ quantity }) => quantity >= 50).slice(0, 3)) {
    await visitor.visit(`/item/${itemID}`);
    await page.locator('.about .add').click();
    await page.locator('.message').first().waitFor();
  }
  await page.locator('.basket').click();
  await page.locator('.line').first().waitFor();
  await checkOut(visitor);
  await screenshot(page, 'payment');
  await visitor.leave();
});

test('a login to Dexar beside the chat', async () => {
  const visitor = await visitorOf(dexar, { width: WIDTH - CHAT_WIDTH - GAP, height: HEIGHT });
  visitor.allow(isSandboxProblem);
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
  await screenshot(both, 'login');
  await visitor.leave();
});

/** Saves a WebP, which Playwright cannot, at a third of the size of a PNG. */
async function screenshot(page, name) {
  await settle(page);
  const devtools = await page.context().newCDPSession(page);
  const { data } = await devtools.send('Page.captureScreenshot', { format: 'webp', quality: QUALITY });
  writeFileSync(`${DIRECTORY}${name}.webp`, Buffer.from(data, 'base64'));
}

/** Waits until images are loaded and messages are gone, with the pointer out of the way. */
async function settle(page) {
  await page.mouse.move(0, 0);
  await page.waitForFunction(() => !document.querySelector('.message') && [...document.images].every((image) => image.loading === 'lazy' || image.complete));
}
