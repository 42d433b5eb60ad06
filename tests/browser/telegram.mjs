// People with a Telegram account, as the sandbox plays them: on another device through its script interface, on the same one
// in its chat page.

import assert from 'node:assert/strict';

import { SANDBOX, ask } from './places.mjs';

const PATIENCE_MS = 15_000;
const LOOK_MS = 100;

/** Somebody whom nobody has seen before. */
export function somebody(first_name) {
  const id = 100_000_000 + Math.floor(Math.random() * 900_000_000);
  return { id, first_name, username: `${first_name.toLowerCase()}_${id}`, language_code: 'en' };
}

/** Sends a message to a bot from another device. */
export function say(bot, from, text) {
  return ask(`${SANDBOX}/telegram/${bot}/send`, { from, text });
}

/** Presses a button of a bot's message from another device. */
export function press(bot, from, data) {
  return ask(`${SANDBOX}/telegram/${bot}/press`, { from, data });
}

/** A button of the newest message of a bot, once there is such a one: `isWanted(text)`. */
export async function button(bot, from, isWanted) {
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await new Promise((done) => setTimeout(done, LOOK_MS))) {
    const messages = await ask(`${SANDBOX}/telegram/${bot}/messages?chat=${from.id}`);
    const keyboard = messages.at(-1)?.reply_markup?.inline_keyboard.flat() ?? [];
    const found = keyboard.find(({ text }) => isWanted(text));
    if (found) return found;
  }
  return assert.fail(`@${bot} shows ${from.first_name} no such button`);
}

/** Chooses a number, as the shop's page shows it, in the chat on another device. */
export async function choose(bot, from, number) {
  const { callback_data } = await button(bot, from, (text) => text === number);
  await press(bot, from, callback_data);
}

/** Through the dialog of a shop in any language, with Telegram on another device. */
export async function logIn(visitor, person) {
  const { page, shop } = visitor;
  await page.locator('button.account').click();
  await page.locator('.attempt button').click();
  await say(shop.bot, person, await page.locator('#login-command').innerText());
  await choose(shop.bot, person, await page.locator('#login-code').innerText());
  await page.getByRole('banner').getByRole('button', { name: person.first_name }).waitFor();
}
