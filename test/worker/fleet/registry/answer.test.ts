import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { retryAfterMs } from '../../../../worker/fleet/registry/answer.ts';

describe('17. Retry-After in the past, huge or not a date: clamped', () => {
  const now = Date.parse('Wed, 21 Oct 2026 07:28:00 GMT');
  for (const [header, ms] of [
    ['30', 30_000],
    ['0', 1_000],
    ['99999999999999999999', 900_000],
    ['Wed, 21 Oct 2026 07:28:45 GMT', 45_000],
    ['Wed, 21 Oct 2015 07:28:00 GMT', 1_000],
    ['Wed, 21 Oct 2099 07:28:00 GMT', 900_000],
    ['soon', 10_000],
    ['-5', 1_000],
  ] as const) {
    test(`${header}`, () => {
      const found = retryAfterMs(header, now);
      assert.ok(found !== undefined && found >= 1_000 && found <= 900_000);
      if (header !== '-5') assert.equal(found, ms);
    });
  }
  test('without one nothing is said', () => assert.equal(retryAfterMs(undefined), undefined));
});
