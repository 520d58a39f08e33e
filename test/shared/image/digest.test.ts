import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  chainIDs,
  digestOf,
  isDigest,
  parseDiffID,
  parseDigest,
  splitDigest,
} from '../../../shared/image/digest.ts';

const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

describe('digests', () => {
  test('sha256 and sha512 are accepted', () => {
    assert.equal(parseDigest(`sha256:${empty}`), digestOf(''));
    assert.deepEqual(splitDigest(digestOf('', 'sha512')).algorithm, 'sha512');
    assert.ok(isDigest(digestOf('x', 'sha512')));
  });

  for (const text of [
    '',
    empty,
    `sha256:${empty}0`,
    `sha256:${empty.slice(1)}`,
    `sha256:${empty.toUpperCase()}`,
    `sha512:${empty}`,
    `md5:${empty.slice(32)}`,
    `sha256:../${empty.slice(3)}`,
    `sha256:${empty}\n`,
    ` sha256:${empty}`,
    '__proto__:00',
  ]) {
    test(`32. unknown or malformed: ${JSON.stringify(text.slice(0, 30))} is refused`, () => {
      assert.throws(() => parseDigest(text), { code: 'DIGEST_INVALID' });
    });
  }

  test('a chainID is the diffID first, then the digest of the pair', () => {
    const [a, b] = [parseDiffID(digestOf('a')), parseDiffID(digestOf('b'))];
    const [first, second] = chainIDs([a, b]);
    assert.equal(first as string, a as string);
    assert.equal(second as string, digestOf(`${a} ${b}`) as string);
    assert.deepEqual(chainIDs([]), []);
  });
});
