import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { exhaustedMs, retryAfterMs } from '../../../../worker/fleet/registry/rate-limit.ts';

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

describe('RateLimit headers', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  const cases: [Record<string, string>, number | undefined][] = [
    [{ ratelimit: '"default";r=0;t=30' }, 30_000],
    [{ ratelimit: '"burst";r=5;t=1, "day"; r=0; t=40' }, 40_000],
    [{ ratelimit: '"default";r=1;t=30' }, undefined],
    [{ 'ratelimit-remaining': '0', 'ratelimit-reset': '12' }, 12_000],
    [{ 'ratelimit-remaining': '0;w=21600' }, undefined],
    [{ 'ratelimit-remaining': '3', 'ratelimit-reset': '12' }, undefined],
    [{ 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(now / 1000 + 60) }, 60_000],
    [{ 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(now / 1000 - 60) }, 1_000],
    [{ 'ratelimit-remaining': '0', 'ratelimit-reset': '99999999' }, 15 * 60_000],
    [{ 'ratelimit-remaining': '0', 'ratelimit-reset': 'soon' }, undefined],
    [{ ratelimit: '"default";r=-1;t=x' }, undefined],
    [{}, undefined],
  ];
  for (const [headers, expected] of cases) {
    test(JSON.stringify(headers), () => assert.equal(exhaustedMs(headers, now), expected));
  }
});
