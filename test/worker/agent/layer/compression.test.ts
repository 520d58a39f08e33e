import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { digestOf } from '../../../../shared/image/digest.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { file, tar } from '../../../support/tar.ts';
import { Bench, chunks, openApplier, outline } from './applying.ts';

const random = Buffer.from(
  Array.from({ length: 300_000 }, (_, i) => (i * i * 31 + (i >> 3)) & 0xff),
);
const archive = tar(file('a', 'body'), file('random', random));
const shown = { a: 'file 4', random: 'file 300000' };
const half = 200_123;
const [first, second] = [archive.subarray(0, half), archive.subarray(half)];
const skippable = Buffer.from('502a4d1805000000', 'hex');

describe('compression of a layer', () => {
  const applier = openApplier();
  after(() => applier[Symbol.asyncDispose]());

  const compressions: [name: string, compress: (bytes: Buffer) => Buffer][] = [
    ['gzip', (bytes) => gzipSync(bytes)],
    ['zstd', (bytes) => zstdCompressSync(bytes)],
  ];

  for (const [name, compress] of compressions) {
    const whole = compress(archive);
    for (const length of [3, 6, 12, whole.length >> 1, whole.length - 9, whole.length - 1]) {
      test(`67. truncated ${name} (${length - whole.length} bytes): LAYER_INVALID, even where the archive parsed`, async (t) => {
        if (!requireRoot(t)) return;
        await using bench = await Bench.open(applier);
        await bench.refuses(whole.subarray(0, length), 'LAYER_INVALID');
      });
    }

    test(`67. ${name} with a wrong checksum: LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const checked =
        name === 'gzip'
          ? Buffer.from(whole)
          : zstdCompressSync(archive, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });
      for (const back of name === 'gzip' ? [1, 5] : [1]) {
        const spoiled = Buffer.from(checked);
        const at = spoiled.length - back;
        spoiled[at] = (spoiled[at] ?? 0) ^ 1;
        await bench.refuses(spoiled, 'LAYER_INVALID');
      }
    });

    const garbage: [what: string, rest: Buffer][] = [
      ['text', Buffer.from('garbage')],
      ['one byte', Buffer.from('x')],
      ['zeros and text', Buffer.concat([Buffer.alloc(700), Buffer.from('x')])],
      ['zeros and another member', Buffer.concat([Buffer.alloc(3), compress(archive)])],
      ['the other compression', name === 'gzip' ? zstdCompressSync('x') : gzipSync('x')],
      ['a member that is cut', compress(Buffer.from('abc')).subarray(0, -1)],
    ];
    for (const [what, rest] of garbage) {
      test(`68. garbage after the end of ${name} (${what}): LAYER_INVALID`, async (t) => {
        if (!requireRoot(t)) return;
        await using bench = await Bench.open(applier);
        await bench.refuses(Buffer.concat([whole, rest]), 'LAYER_INVALID');
      });
    }

    test(`68. zero padding after the end of ${name}: accepted`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      for (const length of [1, 511, 300_000]) {
        const { tree, layer } = await bench.apply(Buffer.concat([whole, Buffer.alloc(length)]));
        assert.deepEqual(outline(tree), shown);
        assert.equal(layer.diffID, digestOf(archive));
      }
    });

    test(`69. concatenated ${name} members: accepted`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const empty = compress(Buffer.alloc(0));
      const between = name === 'zstd' ? [skippable, Buffer.from('12345')] : [];
      const parts = [
        ...between,
        empty,
        compress(first),
        empty,
        ...between,
        compress(second),
        empty,
      ];
      const joined = Buffer.concat([...parts, ...between]);
      for (const size of [joined.length, 1000, 7]) {
        const { tree, layer } = await bench.apply({
          [Symbol.asyncIterator]: () => chunks(joined, size),
        });
        assert.deepEqual(outline(tree), shown);
        assert.equal(layer.diffID, digestOf(archive));
      }
    });

    test(`35. an empty archive in ${name}: accepted`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      for (const bytes of [tar(), Buffer.alloc(0)]) {
        const { tree, layer } = await bench.apply(compress(bytes));
        assert.deepEqual(outline(tree), {});
        assert.equal(layer.diffID, digestOf(bytes));
      }
    });
  }

  test('35. a zero-byte blob as a layer: LAYER_INVALID', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    await bench.refuses(Buffer.alloc(0), 'LAYER_INVALID', { message: /no bytes/ });
  });

  test('69. gzip with all the fields a header can have: accepted', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const plain = gzipSync(archive);
    const extra = 'x'.repeat(200);
    // FEXTRA, FNAME and FCOMMENT (RFC 1952, 2.3.1).
    const head = Buffer.concat([
      Buffer.from('1f8b081c0000000000ff', 'hex'),
      Buffer.from([200, 0]),
      Buffer.from(`${extra}name\0comment\0`),
    ]);
    const { tree } = await bench.apply(Buffer.concat([head, plain.subarray(10)]));
    assert.deepEqual(outline(tree), shown);
  });

  test('69. a zstd frame with a long window: accepted up to 128 MiB, LAYER_INVALID beyond', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    // Fed as a stream of unknown length, a frame says its window and not its size.
    const { createZstdCompress } = await import('node:zlib');
    const { buffer } = await import('node:stream/consumers');
    const compress = async (log: number) => {
      const stream = createZstdCompress({
        params: {
          [constants.ZSTD_c_enableLongDistanceMatching]: 1,
          [constants.ZSTD_c_windowLog]: log,
        },
      });
      for (let at = 0; at < archive.length; at += 65_536) {
        stream.write(archive.subarray(at, at + 65_536));
      }
      stream.end();
      return await buffer(stream);
    };
    assert.deepEqual(outline((await bench.apply(await compress(27))).tree), shown);
    await bench.refuses(await compress(28), 'LAYER_INVALID');
  });

  test('70. the bytes decide among the supported compressions, whatever the media type says', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    for (const bytes of [archive, gzipSync(archive), zstdCompressSync(archive)]) {
      const { tree, layer } = await bench.apply(bytes);
      assert.deepEqual(outline(tree), shown);
      assert.equal(layer.diffID, digestOf(archive));
    }
  });

  const unsupported: [what: string, bytes: Buffer, message: RegExp][] = [
    ['bzip2', Buffer.from('425a683931415926535900', 'hex'), /bzip2/],
    ['xz', Buffer.from('fd377a585a000004', 'hex'), /xz/],
    ['zlib', deflateSync(archive), /neither a tar archive nor/],
    ['raw deflate', deflateRawSync(archive), /neither a tar archive nor/],
    ['lz4', Buffer.from('04224d186040820000', 'hex'), /neither a tar archive nor/],
    ['gzip in gzip', gzipSync(gzipSync(archive)), /neither a tar archive nor/],
    ['HTML', Buffer.from('<html>'.repeat(200)), /neither a tar archive nor/],
    ['a short text', Buffer.from('ab'), /neither a tar archive nor/],
  ];
  for (const [what, bytes, message] of unsupported) {
    test(`70. ${what}: LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(bytes, 'LAYER_INVALID', { message });
    });
  }

  test('70. a plain archive whose first name begins as bzip2 does: accepted', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { tree } = await bench.apply(tar(file('BZh9/file')));
    assert.ok(tree.has('BZh9/file'));
  });
});
