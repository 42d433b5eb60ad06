// The QR codes of the shop match codes that zbarimg decoded; the hashes were recorded then.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { qrModules } from '../../src/bin/sandbox/shop/qr.js';

const VERIFIED_HASHES = {
  'hi': '97314de84ccfecea',
  'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy': 'c94dc1eff04c2024',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa': '7707d460fc2e095b',
  'https://t.me/dexarmarket_bot?start=auth_0123456789abcdef0123456789abcdef': 'd671de0950807702',
  'http://localhost:4210/telegram/dexarmarket_bot?start=auth_0123456789abcdef0123456789abcdef': '1c9ce116c0391173',
  'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx': 'ef6619a67a1805fe',
};

test('codes of every version match the verified hashes', () => {
  for (const [text, hash] of Object.entries(VERIFIED_HASHES)) {
    const rows = qrModules(text).map((row) => row.map(Number).join('')).join('\n');
    assert.equal(createHash('sha256').update(rows).digest('hex').slice(0, 16), hash, text);
  }
  assert.equal(qrModules('x'.repeat(135)), null, 'too long for version 6');
});
