import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Quota } from '../../../../worker/fleet/registry/exchange-budget.ts';
import {
  exhaustedMs,
  quotaOf,
  retryAfterMs,
} from '../../../../worker/fleet/registry/rate-limit.ts';

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
  const cases: [Record<string, string>, Quota | undefined, exhausted?: number][] = [
    [{ ratelimit: '"default";r=0;t=30' }, { left: 0, resetMs: 30_000 }, 30_000],
    [
      {
        ratelimit: '"burst";r=5;t=1, "day"; r=0; t=40',
        'ratelimit-policy': '"day";q=9, "burst";q=5',
      },
      { left: 0, limit: 9, resetMs: 40_000 },
      40_000,
    ],
    [{ ratelimit: '"a";r=0;t=1, "b";r=0;t=40' }, { left: 0, resetMs: 40_000 }, 40_000],
    [{ ratelimit: '"default";r=1;t=30' }, { left: 1, resetMs: 30_000 }],
    [{ ratelimit: '"default";r=0.5;t=1.25' }, { left: 0, resetMs: 1_250 }, 1_250],
    [{ ratelimit: 'limit=10, remaining=3, reset=7' }, { left: 3, limit: 10, resetMs: 7_000 }],
    [{ 'ratelimit-remaining': '0', 'ratelimit-reset': '12' }, { left: 0, resetMs: 12_000 }, 12_000],
    [
      { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600' },
      { left: 76, limit: 100, windowMs: 21_600_000 },
    ],
    [{ 'ratelimit-remaining': '0;w=21600' }, { left: 0 }],
    [
      {
        'ratelimit-limit': '10, 50;w=60, 10;w=1',
        'ratelimit-remaining': '3',
        'ratelimit-reset': '12',
      },
      { left: 3, limit: 10, resetMs: 12_000, windowMs: 1_000 },
    ],
    [
      { ratelimit: '"hour";r=4', 'ratelimit-policy': '"hour";q=10;w=3600' },
      { left: 4, limit: 10, windowMs: 3_600_000 },
    ],
    [
      { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(now / 1000 + 60) },
      { left: 0, resetMs: 60_000 },
      60_000,
    ],
    [
      { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(now / 1000 - 60) },
      { left: 0, resetMs: -60_000 },
      1_000,
    ],
    [
      { 'ratelimit-remaining': '0', 'ratelimit-reset': '99999999' },
      { left: 0, resetMs: 99_999_999_000 },
      15 * 60_000,
    ],
    [{ 'ratelimit-remaining': '0', 'ratelimit-reset': 'soon' }, { left: 0 }],
    [{ ratelimit: '"default";r=-1;t=x' }, undefined],
    [
      { ratelimit: `"${'x'.repeat(10_000)}";r=${'9'.repeat(400)}`, 'ratelimit-remaining': '-1' },
      undefined,
    ],
    [{}, undefined],
  ];
  for (const [headers, expected, exhausted] of cases) {
    test(JSON.stringify(headers).slice(0, 200), () => {
      const quota = quotaOf(headers, now);
      assert.deepEqual(quota && JSON.parse(JSON.stringify(quota)), expected);
      assert.equal(exhaustedMs(quota), exhausted);
    });
  }
});
