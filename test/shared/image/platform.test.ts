import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  fallbacks,
  formatPlatform,
  formatPlatforms,
  parsePlatform,
  parsePlatforms,
  samePlatform,
} from '../../../shared/image/platform.ts';

describe('platforms', () => {
  for (const [text, normal] of [
    ['linux/amd64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['Linux/AMD64', 'linux/amd64'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['linux/i386', 'linux/386'],
  ] as const) {
    test(`${text} is ${normal}`, () => {
      assert.equal(formatPlatform(parsePlatform(text)), normal);
    });
  }

  for (const text of ['', 'linux', 'linux/', 'a/b/c/d', 'linux/amd 64', '/x']) {
    test(`${JSON.stringify(text)} is no platform`, () => {
      assert.throws(() => parsePlatform(text), { code: 'PLATFORM_INVALID' });
    });
  }

  test('arm falls back to older variants, 64 bits to nothing else', () => {
    const names = (text: string) => fallbacks(parsePlatform(text)).map(formatPlatform);
    assert.deepEqual(names('linux/arm/v7'), ['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']);
    assert.deepEqual(names('linux/arm64'), ['linux/arm64']);
    assert.deepEqual(names('linux/amd64'), ['linux/amd64']);
  });

  test('several are asked for with commas between, each once', () => {
    const names = (text: string) => formatPlatforms(parsePlatforms(text) ?? []);
    assert.equal(names('linux/arm64/v8,linux/x86_64,linux/aarch64'), 'linux/arm64,linux/amd64');
    assert.equal(parsePlatforms('all'), undefined);
    for (const text of ['linux/amd64,', ',', 'linux/amd64,all', `a/b${',a/b'.repeat(16)}`]) {
      assert.throws(() => parsePlatforms(text), { code: 'PLATFORM_INVALID' });
    }
  });

  test('offered and wanted compare normalized', () => {
    const offered = { os: 'linux', architecture: 'arm64', variant: 'v8' };
    assert.ok(samePlatform(offered, parsePlatform('linux/arm64')));
    assert.ok(!samePlatform(offered, parsePlatform('linux/amd64')));
  });
});
