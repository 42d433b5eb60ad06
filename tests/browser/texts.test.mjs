// The texts of the shops: complete in every language, and of characters that fonts without pictures have.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

import { en } from '../../src/bin/sandbox/shop/texts/en.js';
import { hy } from '../../src/bin/sandbox/shop/texts/hy.js';
import { ru } from '../../src/bin/sandbox/shop/texts/ru.js';

const SANDBOX = new URL('../../src/bin/sandbox/', import.meta.url);
const EMOJI = /(?![©®™])\p{Extended_Pictographic}/u;

test('every language has every text, with the same values', () => {
  const values = (text) => [...text.matchAll(/\{\w+\}/g)].map(([value]) => value).sort();
  for (const texts of [en, hy]) {
    assert.deepEqual(Object.keys(texts).sort(), Object.keys(ru).sort());
    for (const [key, text] of Object.entries(texts)) assert.deepEqual(values(text), values(ru[key]), key);
  }
  for (const { months } of [en, hy, ru]) assert.equal(months.split(' ').length, 12);
});

test('no page needs an emoji font', () => {
  for (const directory of ['shop/', 'shop/texts/', 'pages/']) {
    for (const { name } of readdirSync(new URL(directory, SANDBOX), { withFileTypes: true }).filter((entry) => entry.isFile())) {
      const lines = readFileSync(new URL(directory + name, SANDBOX), 'utf8').split('\n');
      assert.deepEqual(lines.filter((line) => EMOJI.test(line)), [], name);
    }
  }
});
