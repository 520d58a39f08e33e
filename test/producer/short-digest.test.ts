import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { expandDigest, isShortDigest } from '../../producer/short-digest.ts';
import { type Digest, digestOf } from '../../shared/image/digest.ts';

const digest = (hex: string) => `sha256:${hex.padEnd(64, '0')}` as Digest;

describe('digests that were written in short', () => {
  test('what can be one, and what is a name', () => {
    for (const text of [
      'sha256:ab12',
      'sha512:0123',
      'ab12cd34ef56',
      digestOf('a'),
      'a'.repeat(64),
    ]) {
      assert.equal(isShortDigest(text), true, text);
    }
    for (const text of [
      'cafe',
      'sha256:ab1',
      'sha256:AB12',
      'sha1:ab12',
      'redis',
      'a/ab12cd34ef56',
      '',
    ]) {
      assert.equal(isShortDigest(text), false, text);
    }
  });

  test('the one that begins so, of either algorithm', async () => {
    const there = [digest('ab12cd34ef56'), digest('ab12cd34ef57'), digestOf('x', 'sha512')];
    assert.equal(await expandDigest('ab12cd34ef56', there), there[0]);
    assert.equal(await expandDigest('sha256:ab12cd34ef57', there), there[1]);
    assert.equal(await expandDigest((there[2] ?? '').slice(0, 20), there), there[2]);
    assert.equal(await expandDigest('sha256:ffff', there), undefined);
    assert.equal(await expandDigest('sha512:ab12', there), undefined);
  });

  test('one that is whole is itself, whatever there is', async () => {
    assert.equal(await expandDigest(digestOf('a'), []), digestOf('a'));
  });

  test('several: which they are, and not all of a crowd', async () => {
    const there = Array.from({ length: 8 }, (_, n) => digest(`ab12${n}`));
    await assert.rejects(expandDigest('sha256:ab12', [...there, ...there]), {
      code: 'USAGE',
      message:
        /^sha256:ab12 is the beginning of several digests: (sha256:ab12\d0+, ){4}sha256:ab124\d+ and 3 more$/,
    });
    assert.equal(await expandDigest('sha256:ab123', there), there[3]);
  });
});
