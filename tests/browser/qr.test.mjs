// The shop's own QR codes are those that cameras read. The hashes are of codes that zbarimg read back when this was written.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { qrModules } from '../../src/bin/sandbox/shop/qr.js';

const READ_BACK = {
  'hi': '97314de84ccfecea',
  'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy': 'c94dc1eff04c2024',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa': '7707d460fc2e095b',
  'https://t.me/dexarmarket_bot?start=auth_0123456789abcdef0123456789abcdef': 'd671de0950807702',
  'http://localhost:4210/telegram/dexarmarket_bot?start=auth_0123456789abcdef0123456789abcdef': '1c9ce116c0391173',
  'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx': 'ef6619a67a1805fe',
};

test('codes of every version are as they were read', () => {
  for (const [text, hash] of Object.entries(READ_BACK)) {
    const rows = qrModules(text).map((row) => row.map(Number).join('')).join('\n');
    assert.equal(createHash('sha256').update(rows).digest('hex').slice(0, 16), hash, text);
  }
  assert.equal(qrModules('x'.repeat(135)), null, 'more than a version 6 takes');
});
