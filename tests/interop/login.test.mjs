// The login links of the bots, verified by @telegram-auth/server.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { test } from 'node:test';

import auth from '@telegram-auth/server';
import utils from '@telegram-auth/server/utils';

import { ALL_SHOPS, STATE } from '../browser/environment.mjs';
import { button, newUser, sendMessage } from '../browser/telegram.mjs';

/** As old as the gateway accepts. */
const MAX_AGE_S = 300;

const tokenOf = (brand) => readFileSync(`${STATE}/credentials/${brand}.telegram-bot-token`, 'utf8').trim();

const validatorOf = (brand) => new auth.AuthDataValidator({ botToken: tokenOf(brand), inValidateDataAfter: MAX_AGE_S });

const validate = (brand, { searchParams }) => validatorOf(brand).validate(utils.searchParamsToAuthDataMap(searchParams));

/** The status of the gateway's response to a followed link. The headers of `fetch` would be those of a script. */
async function statusOf(url) {
  const [response] = await once(get(url, { headers: { accept: 'text/html' } }), 'response');
  response.resume();
  return response.statusCode;
}

for (const { brand, bot } of ALL_SHOPS) {
  const other = ALL_SHOPS.find((shop) => shop.brand !== brand).brand;

  test(`the link of @${bot} is signed as Telegram signs`, async () => {
    const user = { ...newUser('Анна-Мария & "Co" + ք'), username: `anna_${brand}`, last_name: '100% = %D1%8F' };
    await sendMessage(bot, user, '/start');
    const link = new URL((await button(bot, user, (text) => text.startsWith('Log in'))).url);

    const { id, first_name, last_name, username } = await validate(brand, link);
    const { language_code, ...known } = user;
    assert.deepEqual({ id: Number(id), first_name, last_name, username }, known);
    await assert.rejects(validate(other, link), /could not be validated/);

    for (const [name, value] of [['id', String(user.id + 1)], ['first_name', 'Eve'], ['hash', '0'.repeat(64)]]) {
      const changed = new URL(link);
      changed.searchParams.set(name, value);
      await assert.rejects(validate(brand, changed), /could not be validated/);
      assert.equal(await statusOf(changed), 401, name);
    }
    assert.equal(await statusOf(link), 200);
  });
}
