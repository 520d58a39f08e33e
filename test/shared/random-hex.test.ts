import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomHex } from '../../shared/random-hex.ts';

test('random digits: as many as asked for, and never the same, however many are asked for', () => {
  const seen = new Set<string>();
  for (let count = 0; count < 1000; count++) {
    const digits = randomHex(9);
    assert.match(digits, /^[0-9a-f]{18}$/);
    seen.add(digits);
  }
  assert.equal(seen.size, 1000);
  assert.equal(randomHex(1024).length, 2048);
});
