// Telegram users: on another device through the control interface of the sandbox, on the same device in its chat page.

import assert from 'node:assert/strict';

import { SANDBOX, fetchJson } from './environment.mjs';

const TIMEOUT_MS = 15_000;
const POLL_MS = 100;

/** A new user. */
export function newUser(first_name) {
  const id = 100_000_000 + Math.floor(Math.random() * 900_000_000);
  return { id, first_name, username: `${first_name.toLowerCase()}_${id}`, language_code: 'en' };
}

/** Sends a message to a bot, as from another device. */
export function sendMessage(bot, from, text) {
  return fetchJson(`${SANDBOX}/telegram/${bot}/send`, { from, text });
}

/** Presses a button of a bot's message, as from another device. */
export function pressButton(bot, from, data) {
  return fetchJson(`${SANDBOX}/telegram/${bot}/press`, { from, data });
}

/** Waits for a button in the newest message of a bot: `matches(text)`. */
export async function button(bot, from, matches) {
  for (const deadline = Date.now() + TIMEOUT_MS; Date.now() < deadline; await new Promise((done) => setTimeout(done, POLL_MS))) {
    const messages = await fetchJson(`${SANDBOX}/telegram/${bot}/messages?chat=${from.id}`);
    const keyboard = messages.at(-1)?.reply_markup?.inline_keyboard.flat() ?? [];
    const found = keyboard.find(({ text }) => matches(text));
    if (found) return found;
  }
  return assert.fail(`@${bot} has not sent ${from.first_name} such a button`);
}

/** Presses the button with this number. */
export async function chooseNumber(bot, from, number) {
  const { callback_data } = await button(bot, from, (text) => text === number);
  await pressButton(bot, from, callback_data);
}

/** Logs in through the dialog of the shop, with Telegram on another device. */
export async function logIn(visitor, user) {
  const { page, shop } = visitor;
  await page.locator('button.account').click();
  await page.locator('.attempt button').click();
  await sendMessage(shop.bot, user, await page.locator('#login-command').innerText());
  await chooseNumber(shop.bot, user, await page.locator('#login-code').innerText());
  await page.getByRole('banner').getByRole('button', { name: user.first_name }).waitFor();
}
