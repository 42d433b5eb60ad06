// Login and logout in both shops: by the button and by the attempt, on the same and on another device.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isSandboxProblem, visitorOf } from './browser.mjs';
import { ALL_SHOPS, SHOPS } from './environment.mjs';
import { button, chooseNumber, logIn, newUser, pressButton, sendMessage } from './telegram.mjs';

for (const shop of SHOPS) {
  test(`${shop.title}: login by the button, on the same device`, async () => {
    const visitor = await visitorOf(shop);
    visitor.allow(isSandboxProblem);
    await visitor.enter('en');
    await visitor.page.getByRole('button', { name: 'Log in' }).click();
    const chat = await followLink(visitor, visitor.page.getByRole('link', { name: 'Log in with Telegram' }));
    await chat.getByRole('button', { name: 'START' }).click();
    const question = await followLink(visitor, chat.locator('#log .row a').last());
    await visitor.screenshot('login-question');
    await question.getByRole('button').click();
    await question.waitForURL(`${shop.url}/`);
    await question.locator('.account .initial').waitFor();
    await visitor.page.getByRole('dialog').waitFor({ state: 'detached' });
    await visitor.page.locator('.account .initial').waitFor();
    await logOutAndLeave(visitor);
  });

  test(`${shop.title}: login by a number, on the same device`, async () => {
    const visitor = await visitorOf(shop);
    visitor.allow(isSandboxProblem);
    await visitor.enter('ru');
    await visitor.page.getByRole('button', { name: 'Войти' }).click();
    await visitor.page.getByRole('button', { name: 'Войти по числу' }).click();
    const number = await visitor.page.locator('#login-code').innerText();
    const chat = await followLink(visitor, visitor.page.locator('#login-link'));
    await chat.getByRole('button', { name: 'START' }).click();
    await chat.getByRole('button', { name: number, exact: true }).click();
    await visitor.page.locator('.account .initial').waitFor();
    await visitor.leave();
  });

  test(`${shop.title}: login by a number, on another device; the cart is kept`, async () => {
    const anna = newUser('Anna');
    const first = await visitorOf(shop);
    await first.enter('en');
    await first.page.locator('.card .add').first().click();
    await first.page.waitForFunction(() => document.querySelector('.bubble').innerText === '1');
    await logIn(first, anna);
    await first.screenshot('logged-in');
    const second = await visitorOf(shop, { width: 400 });
    await second.enter('en');
    await logIn(second, anna);
    await second.page.waitForFunction(() => document.querySelector('.bubble').innerText === '1');
    await logOutAndLeave(second);
    await first.page.reload();
    await first.settled();
    await first.page.getByRole('button', { name: 'Account: Anna' }).waitFor();
    await logOutAndLeave(first);
  });

  test(`${shop.title}: a wrong number does not log in, a new one does`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    const boris = newUser('Boris');
    await visitor.enter('en');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('button', { name: 'Log in with a number' }).click();
    await sendMessage(shop.bot, boris, await page.locator('#login-command').innerText());
    const number = await page.locator('#login-code').innerText();
    const wrong = await button(shop.bot, boris, (text) => /^\d\d$/.test(text) && text !== number);
    await pressButton(shop.bot, boris, wrong.callback_data);
    await page.waitForResponse((response) => response.url().endsWith('/auth/session') && response.status() === 401);
    assert.ok(await page.getByRole('dialog').isVisible());
    const command = await page.locator('#login-command').innerText();
    await page.getByRole('button', { name: 'New number' }).click();
    await page.waitForFunction((previous) => document.querySelector('#login-command').innerText !== previous, command);
    await sendMessage(shop.bot, boris, await page.locator('#login-command').innerText());
    await chooseNumber(shop.bot, boris, await page.locator('#login-code').innerText());
    await page.getByRole('button', { name: 'Account: Boris' }).waitFor();
    await visitor.leave();
  });

  test(`${shop.title}: a login is not valid in the other shop`, async () => {
    const visitor = await visitorOf(shop);
    await visitor.enter('en');
    await logIn(visitor, newUser('Vera'));
    await visitor.page.goto(ALL_SHOPS.find(({ brand }) => brand !== shop.brand).url);
    await visitor.page.getByRole('dialog').waitFor();
    await visitor.page.keyboard.press('Escape');
    await visitor.page.locator('.account', { hasText: 'Войти' }).waitFor();
    await visitor.page.goto(shop.url);
    await visitor.page.locator('.account .initial').waitFor();
    await visitor.leave();
  });
}

/** Follows a link that opens a tab. */
async function followLink(visitor, link) {
  const [page] = await Promise.all([visitor.context.waitForEvent('page'), link.click()]);
  await visitor.watch(page);
  await page.waitForLoadState();
  return page;
}

/** Logs out and closes the context. */
async function logOutAndLeave(visitor) {
  await visitor.page.locator('button.account').click();
  await visitor.page.getByRole('button', { name: 'Log out' }).click();
  await visitor.page.getByRole('button', { name: 'Log in' }).waitFor();
  await visitor.page.waitForFunction(() => document.querySelector('.bubble').innerText === '');
  await visitor.leave();
}
