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

/** The buttons of the newest message of a bot that has any, once one is there. */
export async function buttons(bot, from) {
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await new Promise((done) => setTimeout(done, LOOK_MS))) {
    const messages = await ask(`${SANDBOX}/telegram/${bot}/messages?chat=${from.id}`);
    const keyboard = messages.at(-1)?.reply_markup?.inline_keyboard.flat() ?? [];
    if (keyboard.length > 0) return keyboard;
  }
  assert.fail(`@${bot} shows no buttons to ${from.first_name}`);
}

/** Chooses a number, as the shop's page shows it, in the chat on another device. */
export async function choose(bot, from, number) {
  const button = (await buttons(bot, from)).find(({ text }) => text === number);
  assert.ok(button, `@${bot} offers ${number}`);
  await press(bot, from, button.callback_data);
}
