import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { createGzip, gzipSync } from 'node:zlib';
import { requireRoot } from '../../../support/requirements.ts';
import {
  entry,
  file,
  folder,
  gnuLong,
  hardLink,
  header,
  pax,
  symlink,
  tar,
} from '../../../support/tar.ts';
import { at, Bench, openApplier, outline } from './applying.ts';

describe('limits of a layer', () => {
  const applier = openApplier();
  after(() => applier[Symbol.asyncDispose]());

  test('66. a decompression bomb (ratio): LAYER_LIMIT', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    // Behind the end marker nothing is written, and all of it is still decompressed.
    const bomb = await zerosInGzip(300 * 2 ** 20);
    await bench.refuses(bomb, 'LAYER_LIMIT', { message: /times larger/ });
    const { layer } = await bench.apply(bomb, { limits: { maxRatio: 2000 } });
    assert.equal(layer.tarBytes, 300 * 2 ** 20);
  });

  test('66. a decompression bomb (bytes): LAYER_LIMIT', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const archive = tar(file('x', Buffer.alloc(1_000_000)));
    for (const bytes of [archive, gzipSync(archive)]) {
      const limits = { maxBytes: archive.length - 1 };
      await bench.refuses(bytes, 'LAYER_LIMIT', { limits, message: /bytes/ });
      await bench.apply(bytes, { limits: { maxBytes: archive.length } });
    }
  });

  test('66. a file that is said to be larger than all the layer may be: LAYER_LIMIT', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    await bench.refuses(tar(header({ name: 'x', size: 2 ** 45 })), 'LAYER_LIMIT');
  });

  const entries: [what: string, archive: Buffer, count: number][] = [
    ['files', tar(...Array.from({ length: 50 }, (_, index) => file(`file-${index}`))), 50],
    ['folders', tar(...Array.from({ length: 50 }, (_, index) => folder(`folder-${index}`))), 50],
    ['one file again and again', tar(...Array.from({ length: 50 }, () => file('x'))), 50],
    ['whiteouts', tar(...Array.from({ length: 50 }, (_, index) => file(`.wh.${index}`))), 50],
    ['folders without an entry', tar(file(`${'d/'.repeat(49)}x`), file('y')), 51],
    ['folders that get their entry later', tar(file('a/b/x'), folder('a'), folder('a/b')), 3],
  ];
  for (const [what, archive, count] of entries) {
    test(`77. too many entries (${what}): a cap, LAYER_LIMIT`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const most = what.endsWith('later') ? count + 2 : count;
      await bench.apply(archive, { limits: { maxEntries: most } });
      await bench.refuses(archive, 'LAYER_LIMIT', {
        limits: { maxEntries: count - 1 },
        message: /entries/,
      });
    });
  }

  test('77. a million entries: LAYER_LIMIT by default, and a depth over 1,024', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const deep = (depth: number) => `${'d/'.repeat(depth)}x`;
    const { tree } = await bench.apply(tar(pax({ path: deep(1024) }), file('x')));
    assert.ok(tree.has(deep(1024)));
    await bench.refuses(tar(pax({ path: deep(1025) }), file('x')), 'LAYER_LIMIT', {
      message: /deeper/,
    });
    await bench.refuses(tar(pax({ path: deep(1025) }), folder('x')), 'LAYER_LIMIT');
    // All of one name, so that only the count of them costs anything.
    const part = Buffer.concat(Array.from({ length: 1000 }, () => file('.wh..wh..opq')));
    async function* million() {
      for (let index = 0; index < 1000; index++) yield part;
      yield tar(file('one-more'));
    }
    await assert.rejects(bench.apply(million()), {
      code: 'LAYER_LIMIT',
      message: /1000000 entries/,
    });
  });

  test('77. a depth that is reached through symlinks: LAYER_LIMIT', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const archive = tar(
      ...[folder('a/b/c'), symlink('a/b/c/up', '../../..'), symlink('down', 'a/b/c')],
      pax({ path: `${'down/up/'.repeat(100)}down/d/e/x` }),
      file('x'),
    );
    const { tree } = await bench.apply(archive, { limits: { maxDepth: 5 } });
    assert.ok(tree.has('a/b/c/d/e/x'));
    await bench.refuses(archive, 'LAYER_LIMIT', { limits: { maxDepth: 4 } });
  });

  test('77. symlinks that lead to each other, or to ever more: LAYER_INVALID', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    await bench.refuses(tar(symlink('a', 'b'), symlink('b', 'a'), file('a/x')), 'LAYER_INVALID');
    await bench.refuses(tar(symlink('a', 'a/a'), file('a/x')), 'LAYER_INVALID');
    // Each doubles the one before.
    const doubling = Array.from({ length: 40 }, (_, i) => symlink(`l${i + 1}`, `l${i}/../l${i}`));
    await bench.refuses(tar(symlink('l0', '.'), ...doubling, file('l40/x')), 'LAYER_INVALID');
  });

  test('77. paths that fill the memory: LAYER_LIMIT', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const limits = { maxPathBytes: 1000 };
    const message = /paths/;
    const name = (index: number) => `${index}`.padEnd(90, 'n');
    const of = (part: (name: string) => Buffer) =>
      tar(...Array.from({ length: 12 }, (_, index) => part(name(index))));
    await bench.refuses(
      of((path) => folder(path)),
      'LAYER_LIMIT',
      { limits, message },
    );
    await bench.refuses(
      of((path) => file(`.wh.${path}`)),
      'LAYER_LIMIT',
      { limits, message },
    );
    await bench.refuses(
      of((path) => hardLink(path, 'lower')),
      'LAYER_LIMIT',
      { limits, message },
    );
    const { tree } = await bench.apply(
      of((path) => file(path)),
      { limits },
    );
    assert.equal(Object.keys(outline(tree)).length, 12);
  });

  const headers: [what: string, parts: (size: number) => Buffer[]][] = [
    ['PAX', (size) => [pax({ comment: 'x'.repeat(size) }), file('x')]],
    ['GNU long name', (size) => [gnuLong('name', './'.repeat(size / 2)), folder('x')]],
    ['GNU long target', (size) => [gnuLong('target', './'.repeat(size / 2)), hardLink('x', 'y')]],
    [
      'global',
      (size) => [entry({ type: 'g' }, `${size + 8} c=`.padEnd(size + 7, 'x').concat('\n'))],
    ],
  ];
  for (const [what, parts] of headers) {
    test(`61. one header (${what}) beyond its limit: LAYER_LIMIT`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(tar(...parts(2 ** 20 + 2)), 'LAYER_LIMIT', { message: /header/ });
      await bench.refuses(tar(...parts(4000)), 'LAYER_LIMIT', { limits: { maxHeaderBytes: 2000 } });
    });
  }

  test('61. one header that is said to be huge: LAYER_LIMIT, before room is made for it', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    for (const type of ['x', 'g', 'L', 'K']) {
      await bench.refuses(tar(header({ name: 'x', type, size: 2 ** 50 })), 'LAYER_LIMIT');
    }
  });

  test('the limits of the applier hold where a call gives none', async (t) => {
    if (!requireRoot(t)) return;
    const { LayerApplier } = await import('../../../../worker/agent/layer/apply.ts');
    await using strict = new LayerApplier({ threads: 1, limits: { maxEntries: 1 } });
    await using bench = await Bench.open(strict);
    await bench.refuses(tar(file('a'), file('b')), 'LAYER_LIMIT', { message: /1 entries/ });
    assert.equal(at((await bench.apply(tar(file('a')))).tree, 'a').size, 0);
  });
});

async function zerosInGzip(size: number): Promise<Buffer> {
  const { buffer } = await import('node:stream/consumers');
  const stream = createGzip();
  const whole = buffer(stream);
  const zeros = Buffer.alloc(2 ** 20);
  for (let written = 0; written < size; written += zeros.length) {
    if (!stream.write(zeros)) await new Promise((resolve) => stream.once('drain', resolve));
  }
  stream.end();
  return await whole;
}
