// A bot on grammY against the simulator of the Bot API: what the library needs works, and errors have the shapes it understands.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Bot, GrammyError, HttpError, InlineKeyboard } from 'grammy';

const TIMEOUT_MS = 15_000;
const POLL_MS = 20;
const BINARIES = process.env.BINARIES;
const TOKEN = '7000000001:AAinterop_interop_interop_interop_12';
const USER = { id: 4242, first_name: 'Anna', username: 'anna', language_code: 'en' };

let directory, sandbox, url;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'bot-'));
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const settings = join(directory, 'sandbox.toml');
  const bot = `[[bots]]\nusername = "interop_bot"\ntitle = "Interop"\ntoken = "${TOKEN}"\n`;
  writeFileSync(settings, `listen = ["127.0.0.1:${port}"]\nurl = "${url}"\nsmtp = "127.0.0.1:0"\n${bot}`);
  sandbox = spawn(`${BINARIES}/sandbox`, [settings], { stdio: 'ignore' });
  await eventually('the sandbox is ready', () => control('calls').then(() => true, () => false));
});

after(async () => {
  sandbox.kill('SIGKILL');
  if (sandbox.exitCode === null && sandbox.signalCode === null) await once(sandbox, 'exit');
  rmSync(directory, { recursive: true });
});

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function eventually(what, condition) {
  for (const deadline = Date.now() + TIMEOUT_MS; Date.now() < deadline; await new Promise((done) => setTimeout(done, POLL_MS))) {
    const found = await condition();
    if (found) return found;
  }
  return assert.fail(`${what}: not within ${TIMEOUT_MS} ms`);
}

/** The control interface of the sandbox: sends a body, or reads. */
async function control(path, body) {
  const response = await fetch(`${url}/telegram/interop_bot/${path}`, body && { method: 'POST', body: JSON.stringify(body) });
  assert.equal(response.status, 200);
  return response.json();
}

const newBot = () => new Bot(TOKEN, { client: { apiRoot: url } });

/** Starts long polling; `stop` ends it. */
async function start(bot) {
  const started = new Promise((done) => bot.start({ onStart: done, timeout: 30 }).catch(done));
  assert.equal((await started).username, 'interop_bot');
}

/** The error of a call that Telegram refuses. */
async function refusal(call) {
  const error = await call.then(() => assert.fail('the call succeeded'), (error) => error);
  assert.ok(error instanceof GrammyError, String(error));
  return { code: error.error_code, description: error.description, parameters: error.parameters };
}

test('a bot answers messages, edits them, and answers the buttons', async () => {
  const bot = newBot();
  const pressed = [];
  bot.command('start', (ctx) => {
    const keyboard = new InlineKeyboard().text('Yes', 'yes:1').text('No', 'no:1').row().url('Open', 'https://example.com/?a=1&b=2');
    return ctx.reply(`Hello, ${ctx.from.first_name}: ${ctx.match}`, { reply_markup: keyboard });
  });
  bot.callbackQuery(/^yes:(\d)$/, async (ctx) => {
    await ctx.answerCallbackQuery({ text: 'Thank you', show_alert: true });
    await ctx.editMessageText('Confirmed');
    pressed.push([ctx.match[1], ctx.callbackQuery.message.text]);
  });
  await bot.api.setMyCommands([{ command: 'start', description: 'Begin' }]);
  await start(bot);

  await control('send', { from: USER, text: '/start auth_abc' });
  const question = await eventually('a reply', async () => (await control(`messages?chat=${USER.id}`)).find(({ text }) => text));
  assert.equal(question.text, 'Hello, Anna: auth_abc');
  const [[yes, no], [open]] = question.reply_markup.inline_keyboard;
  assert.deepEqual([yes.callback_data, no.callback_data, open.url], ['yes:1', 'no:1', 'https://example.com/?a=1&b=2']);
  await control('press', { from: USER, data: 'yes:1' });
  await eventually('the press', () => pressed.length);
  assert.deepEqual(pressed, [['1', 'Hello, Anna: auth_abc']]);
  const [edited] = await control(`messages?chat=${USER.id}`);
  assert.equal(edited.text, 'Confirmed');
  assert.equal(edited.reply_markup, undefined);
  const [answer] = await control(`answers?chat=${USER.id}`);
  assert.deepEqual([answer.text, answer.show_alert], ['Thank you', true]);
  await bot.stop();
});

test('a second poller ends the first with a conflict', async () => {
  const first = newBot();
  const ended = new Promise((done, failed) => {
    first.start({ timeout: 30 }).then(() => failed(new Error('no conflict')), done);
  });
  await eventually('a poll', async () => (await control('calls')).getUpdates);
  const second = newBot();
  const polled = (await control('calls')).getUpdates;
  await start(second);
  const error = await ended;
  assert.ok(error instanceof GrammyError, String(error));
  assert.equal(error.error_code, 409);
  assert.equal(error.description, 'Conflict: terminated by other getUpdates request; make sure that only one bot instance is running');
  assert.ok((await control('calls')).getUpdates > polled);
  await second.stop();
});

test('errors have the shapes of Telegram', async () => {
  const { api } = newBot();
  const fault = (how, more) => control('misbehave', { method: 'sendMessage', how, times: 1, ...more });
  await fault('429', { retry_after: 7 });
  assert.deepEqual(await refusal(api.sendMessage(USER.id, 'a')), {
    code: 429,
    description: 'Too Many Requests: retry after 7',
    parameters: { retry_after: 7 },
  });
  await fault('403');
  assert.deepEqual(await refusal(api.sendMessage(USER.id, 'a')), {
    code: 403,
    description: 'Forbidden: bot was blocked by the user',
    parameters: {},
  });
  await fault('500');
  assert.equal((await refusal(api.sendMessage(USER.id, 'a'))).code, 500);
  for (const how of ['html', 'drop']) {
    await fault(how);
    await assert.rejects(api.sendMessage(USER.id, 'a'), HttpError);
  }
  const refused = [
    [() => api.sendMessage(USER.id, ''), 400, 'Bad Request: message text is empty'],
    [() => api.sendMessage(999, 'a'), 400, 'Bad Request: chat not found'],
    [() => api.editMessageText(USER.id, 1, 'a'), 400, 'Bad Request: message to edit not found'],
    [() => api.answerCallbackQuery('1'), 400, 'Bad Request: query is too old and response timeout expired or query ID is invalid'],
    [() => new Bot('7000000002:AAx', { client: { apiRoot: url } }).api.getMe(), 401, 'Unauthorized'],
  ];
  for (const [call, code, description] of refused) {
    assert.deepEqual(await refusal(call()), { code, description, parameters: {} });
  }
});

test('a bot waits as long as Telegram asks and then goes on', async () => {
  const bot = newBot();
  const texts = [];
  bot.on('message:text', (ctx) => void texts.push(ctx.message.text));
  await control('misbehave', { method: 'getUpdates', how: '429', times: 1, retry_after: 1 });
  const before = (await control('calls')).getUpdates ?? 0;
  bot.start({ timeout: 30 });
  await control('send', { from: USER, text: 'after the pause' });
  await eventually('the message', () => texts.includes('after the pause'));
  assert.ok((await control('calls')).getUpdates >= before + 2);
  await bot.stop();
});
