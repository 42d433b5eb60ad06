// Logging in and out in both shops: today's button and the attempt, on the same device and on another one.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { atSandbox, visitorOf } from './browser.mjs';
import { ALL_SHOPS, SHOPS } from './places.mjs';
import { button, choose, logIn, press, say, somebody } from './telegram.mjs';

for (const shop of SHOPS) {
  test(`${shop.title}: the button of today's front, on the same device`, async () => {
    const visitor = await visitorOf(shop);
    visitor.allow(atSandbox);
    await visitor.enter('en');
    await visitor.page.getByRole('button', { name: 'Log in' }).click();
    const chat = await follow(visitor, visitor.page.getByRole('link', { name: 'Log in with Telegram' }));
    await chat.getByRole('button', { name: 'START' }).click();
    const question = await follow(visitor, chat.locator('#log .row a').last());
    await visitor.picture('login-question');
    await question.getByRole('button').click();
    await question.waitForURL(`${shop.url}/`);
    await question.locator('.account .initial').waitFor();
    await visitor.page.getByRole('dialog').waitFor({ state: 'detached' });
    await visitor.page.locator('.account .initial').waitFor();
    await leave(visitor);
  });

  test(`${shop.title}: a number, chosen on the same device`, async () => {
    const visitor = await visitorOf(shop);
    visitor.allow(atSandbox);
    await visitor.enter('ru');
    await visitor.page.getByRole('button', { name: 'Войти' }).click();
    await visitor.page.getByRole('button', { name: 'Войти по числу' }).click();
    const number = await visitor.page.locator('#login-code').innerText();
    const chat = await follow(visitor, visitor.page.locator('#login-link'));
    await chat.getByRole('button', { name: 'START' }).click();
    await chat.getByRole('button', { name: number, exact: true }).click();
    await visitor.page.locator('.account .initial').waitFor();
    await visitor.leave();
  });

  test(`${shop.title}: a number, chosen on another device; the cart comes along`, async () => {
    const anna = somebody('Anna');
    const first = await visitorOf(shop);
    await first.enter('en');
    await first.page.locator('.card .add').first().click();
    await first.page.waitForFunction(() => document.querySelector('.bubble').innerText === '1');
    await logIn(first, anna);
    await first.picture('logged-in');
    const second = await visitorOf(shop, { width: 400 });
    await second.enter('en');
    await logIn(second, anna);
    await second.page.waitForFunction(() => document.querySelector('.bubble').innerText === '1');
    await leave(second);
    await first.page.reload();
    await first.settled();
    await first.page.getByRole('button', { name: 'Account: Anna' }).waitFor();
    await leave(first);
  });

  test(`${shop.title}: a wrong number logs nobody in, a new one does`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    const boris = somebody('Boris');
    await visitor.enter('en');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('button', { name: 'Log in with a number' }).click();
    await say(shop.bot, boris, await page.locator('#login-command').innerText());
    const number = await page.locator('#login-code').innerText();
    const wrong = await button(shop.bot, boris, (text) => /^\d\d$/.test(text) && text !== number);
    await press(shop.bot, boris, wrong.callback_data);
    await page.waitForResponse((response) => response.url().endsWith('/auth/session') && response.status() === 401);
    assert.ok(await page.getByRole('dialog').isVisible());
    const command = await page.locator('#login-command').innerText();
    await page.getByRole('button', { name: 'New number' }).click();
    await page.waitForFunction((former) => document.querySelector('#login-command').innerText !== former, command);
    await say(shop.bot, boris, await page.locator('#login-command').innerText());
    await choose(shop.bot, boris, await page.locator('#login-code').innerText());
    await page.getByRole('button', { name: 'Account: Boris' }).waitFor();
    await visitor.leave();
  });

  test(`${shop.title}: whoever is logged in here is a visitor in the other shop`, async () => {
    const visitor = await visitorOf(shop);
    await visitor.enter('en');
    await logIn(visitor, somebody('Vera'));
    await visitor.page.goto(ALL_SHOPS.find(({ brand }) => brand !== shop.brand).url);
    await visitor.page.getByRole('dialog').waitFor();
    await visitor.page.keyboard.press('Escape');
    await visitor.page.locator('.account', { hasText: 'Войти' }).waitFor();
    await visitor.page.goto(shop.url);
    await visitor.page.locator('.account .initial').waitFor();
    await visitor.leave();
  });
}

/** Opens a link that has a tab of its own, and watches that like the first. */
async function follow(visitor, link) {
  const [page] = await Promise.all([visitor.context.waitForEvent('page'), link.click()]);
  await visitor.watch(page);
  await page.waitForLoadState();
  return page;
}

/** Logs out and goes. */
async function leave(visitor) {
  await visitor.page.locator('button.account').click();
  await visitor.page.getByRole('button', { name: 'Log out' }).click();
  await visitor.page.getByRole('button', { name: 'Log in' }).waitFor();
  await visitor.page.waitForFunction(() => document.querySelector('.bubble').innerText === '');
  await visitor.leave();
}
