import assert from 'node:assert/strict';
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { requireRoot } from '../../../support/requirements.ts';
import {
  file,
  folder,
  gnuSparse,
  pax,
  paxOf,
  paxSparse,
  type TarRange,
  tar,
} from '../../../support/tar.ts';
import { at, Bench, openApplier, outline } from './applying.ts';

interface Holes {
  size: number;
  map: readonly TarRange[];
  data: string;
}

const forms: [name: string, write: (name: string, holes: Holes) => Buffer][] = [
  ['GNU old', (name, holes) => gnuSparse(name, holes)],
  ['PAX 0.0', (name, holes) => paxSparse('0.0', name, holes)],
  ['PAX 0.1', (name, holes) => paxSparse('0.1', name, holes)],
  ['PAX 1.0', (name, holes) => paxSparse('1.0', name, holes)],
];

describe('sparse files of a layer', () => {
  const applier = openApplier();
  after(() => applier[Symbol.asyncDispose]());

  const shapes: [what: string, holes: Holes][] = [
    ['a hole before', { size: 5000, map: [[4096, 904]], data: 'a'.repeat(904) }],
    ['a hole after', { size: 1_000_000, map: [[0, 3]], data: 'abc' }],
    ['a hole alone', { size: 70_000, map: [], data: '' }],
    ['a hole alone, as GNU tar says it', { size: 70_000, map: [[70_000, 0]], data: '' }],
    ['no hole', { size: 3, map: [[0, 3]], data: 'abc' }],
    ['nothing at all', { size: 0, map: [], data: '' }],
    [
      'many holes',
      {
        size: 2_000_000,
        map: Array.from({ length: 60 }, (_, index) => [index * 20_000 + 7, 600 + index]),
        data: Array.from({ length: 60 }, (_, i) => String(i % 10).repeat(600 + i)).join(''),
      },
    ],
  ];
  for (const [form, write] of forms) {
    for (const [what, holes] of shapes) {
      test(`62. sparse files (${form}): expanded, ${what}`, async (t) => {
        if (!requireRoot(t)) return;
        await using bench = await Bench.open(applier);
        const { tree, directory } = await bench.apply(
          tar(write('some/sparse', holes), file('after', 'x')),
        );
        assert.deepEqual(outline(tree), {
          ...{ after: 'file 1', some: 'directory', 'some/sparse': `file ${holes.size}` },
        });
        const found = await readFile(join(directory, 'some/sparse'));
        assert.ok(found.equals(expand(holes)));
        // Holes are holes again.
        const { blocks } = await lstat(join(directory, 'some/sparse'));
        assert.ok(blocks * 512 <= holes.data.length + holes.map.length * 2 * 4096);
      });
    }

    const lies: [what: string, holes: Holes][] = [
      ['goes beyond the end', { size: 10, map: [[8, 3]], data: 'abc' }],
      ['overlaps', { size: 100, map: [...[[0, 3] as const], [2, 3]], data: 'abcdef' }],
      ['is out of order', { size: 100, map: [...[[50, 3] as const], [0, 3]], data: 'abcdef' }],
      ['has less data than it says', { size: 100, map: [[0, 50]], data: 'abc' }],
      ['has more data than it says', { size: 100, map: [[0, 2]], data: 'abc' }],
      ['begins before the file', { size: 100, map: [[-1, 3]], data: 'abc' }],
      ['has a negative length', { size: 100, map: [[3, -3]], data: '' }],
      ['ends beyond 2^53', { size: 100, map: [[2 ** 53, 2 ** 53]], data: '' }],
      ['is of a file of negative size', { size: -5, map: [], data: '' }],
    ];
    for (const [what, holes] of lies) {
      test(`62. sparse files (${form}) whose map ${what}: LAYER_INVALID`, async (t) => {
        if (!requireRoot(t)) return;
        await using bench = await Bench.open(applier);
        await bench.refuses(tar(write('sparse', holes)), 'LAYER_INVALID');
      });
    }

    test(`62. sparse files (${form}) that are longer than the limit: LAYER_LIMIT`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const archive = tar(write('sparse', { size: 2 ** 24, map: [], data: '' }));
      await bench.refuses(archive, 'LAYER_LIMIT', { limits: { maxBytes: 2 ** 24 - 1 } });
      const { tree } = await bench.apply(archive, { limits: { maxBytes: 2 ** 24 } });
      assert.equal(at(tree, 'sparse').size, 2 ** 24);
      await bench.refuses(
        tar(write('sparse', { size: 2 ** 40, map: [], data: '' })),
        'LAYER_LIMIT',
      );
    });
  }

  const header = (fields: Record<string, string>) =>
    pax(Object.fromEntries(Object.entries(fields).map(([k, v]) => [`GNU.sparse.${k}`, v])));
  const body = Buffer.alloc(512, 'x');
  const broken: [what: string, parts: Buffer[]][] = [
    ['an unknown format', [header({ major: '2', minor: '0', realsize: '5' }), file('x', body)]],
    ['half of a version', [header({ major: '1', realsize: '5' }), file('x', body)]],
    ['a count that lies', [header({ map: '0,1', numblocks: '2', size: '5' }), file('x', 'x')]],
    ['no count', [header({ map: '0,1', size: '5' }), file('x', 'x')]],
    ['an odd map', [header({ map: '0,1,2', numblocks: '1', size: '5' }), file('x', 'x')]],
    ['a map of words', [header({ map: 'a,b', numblocks: '1', size: '5' }), file('x', 'x')]],
    ['a size of words', [header({ map: '0,1', numblocks: '1', size: 'b' }), file('x', 'x')]],
    ['no map in the body', [header({ major: '1', minor: '0', realsize: '5' }), file('x')]],
    ['words in the body', [header({ major: '1', minor: '0', realsize: '5' }), file('x', body)]],
    [
      'a negative count in the body',
      [header({ major: '1', minor: '0', realsize: '5' }), file('x', `-1\n${body}`)],
    ],
    [
      'offsets without lengths',
      [paxOf(`23 GNU.sparse.offset=1\n23 GNU.sparse.offset=2\n`), file('x')],
    ],
    ['a length first', [header({ numbytes: '1', offset: '1', numblocks: '1' }), file('x', 'x')]],
    ['a map in an offset', [header({ offset: '1,2', numbytes: '1' }), file('x', 'x')]],
    [
      'the old form without GNU magic',
      [gnuSparse('x', { size: 5, map: [[0, 3]], data: 'abc' }, { format: 'ustar' })],
    ],
    [
      'the old form cut within its map',
      [
        gnuSparse('x', {
          ...{ size: 50, data: 'abcdef' },
          map: Array.from({ length: 6 }, (_, index) => [index * 2, 1]),
        }).subarray(0, 700),
      ],
    ],
  ];
  for (const [what, parts] of broken) {
    test(`62. sparse files with ${what}: LAYER_INVALID, never written raw`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const whole = Buffer.concat(parts);
      const archive = whole.length % 512 === 0 ? tar(whole) : whole;
      await bench.refuses(archive, 'LAYER_INVALID');
    });
  }

  test('62. sparse maps without end: LAYER_LIMIT, before they fill the memory', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const map = Array.from({ length: 200_000 }, (_, index): TarRange => [index * 2, 0]);
    const holes = { size: 1_000_000, map, data: '' };
    await bench.refuses(tar(gnuSparse('x', holes)), 'LAYER_LIMIT');
    await bench.refuses(tar(paxSparse('0.1', 'x', holes)), 'LAYER_LIMIT');
    await bench.refuses(tar(paxSparse('1.0', 'x', holes)), 'LAYER_LIMIT');
    const count = Buffer.from(`${'9'.repeat(15)}\n`.padEnd(2 ** 21, '0\n'));
    const records = header({ major: '1', minor: '0', realsize: '5' });
    await bench.refuses(tar(records, file('x', count)), 'LAYER_LIMIT');
  });

  test('62. sparse records of what is no file, and names of a sparse file: inside the root', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const records = header({ map: '0,1', numblocks: '1', size: '5', name: 'other' });
    const { tree } = await bench.apply(
      tar(
        ...[records, folder('folder')],
        paxSparse('1.0', '../../canary/secret', { size: 9, map: [[8, 1]], data: 'x' }),
      ),
    );
    assert.equal(at(tree, 'folder').type, 'directory');
    assert.equal(at(tree, 'canary/secret').size, 9);
  });
});

function expand({ size, map, data }: Holes): Buffer {
  const whole = Buffer.alloc(size);
  let taken = 0;
  for (const [offset, length] of map) {
    whole.write(data.slice(taken, taken + length), offset);
    taken += length;
  }
  return whole;
}
