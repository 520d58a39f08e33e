import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { DrayError } from '../../shared/errors.ts';
import type { TarEntry } from '../../worker/agent/layer/tar-entry.ts';
import { TarReader } from '../../worker/agent/layer/tar-reader.ts';
import {
  device,
  entry,
  file,
  folder,
  gnuLong,
  gnuSparse,
  hardLink,
  pax,
  paxOf,
  paxSparse,
  symlink,
  type TarRange,
  tar,
  writeNumber,
} from '../support/tar.ts';
import { mutate, type Random } from './random.ts';
import type { Target } from './target.ts';

const limits = { maxBytes: 2 ** 24, maxHeaderBytes: 2 ** 14 };
const maxSize = 2 ** 17;
const many = Array.from({ length: 30 }, (_, index): TarRange => [index * 100, 10]);
const holes = { size: 10_000, map: many, data: 'x'.repeat(300) };

const seeds = [
  tar(file('a', 'body'), folder('b'), symlink('b/c', '../a'), hardLink('d', 'a')),
  tar(device('char', 'null', [1, 3]), file('x'.repeat(100), 'y'.repeat(1000), { prefix: 'p' })),
  tar(
    pax({ path: 'p', linkpath: 'l', uid: '7', gid: '8', size: '4', mtime: '-1.5' }),
    file('a', 'b'),
  ),
  tar(pax({ 'SCHILY.xattr.user.a': Buffer.from([0, 255]) }), paxOf('6 a=b\n', 'g'), file('a')),
  tar(gnuLong('name', 'n'.repeat(600)), gnuLong('target', 't'.repeat(300)), symlink('a', 'b')),
  tar(gnuSparse('old', holes), file('after', 'x')),
  ...(['0.0', '0.1', '1.0'] as const).map((form) =>
    tar(paxSparse(form, 'sparse', holes), file('a')),
  ),
  tar(
    file('base256', '', { uid: 2 ** 31, mtime: -5 }),
    file('v7', 'x', { format: 'v7', type: '\0' }),
  ),
];

const words = [
  ...[
    'GNU.sparse.map=',
    'GNU.sparse.major=1',
    'GNU.sparse.offset=',
    'GNU.sparse.numblocks=9999999',
  ],
  ...[
    'size=-1',
    'path=',
    'mtime=',
    'SCHILY.xattr.',
    '\0',
    '\n',
    '=',
    '9'.repeat(20),
    '-1',
    '../',
    '/',
  ],
  ...['7777777', '12 ', 'ustar  \0', 'ustar\x0000', '\x80\0\0\0', '\xff\xff\xff\xff'],
].map((word) => Buffer.from(word, 'latin1'));

/** The archive reader: whatever the bytes are, an end or a DrayError, the same for every way of cutting them. */
export const archive: Target = {
  generate: (random) => {
    const bytes = mutate(random, random.once(2) ? seeds : [assembled(random)], words, maxSize);
    if (random.once(4)) return assembled(random);
    // With wrong checksums nothing behind them would ever be reached.
    if (!random.once(8)) repair(bytes, random);
    return bytes;
  },
  check: (bytes, random) => {
    const whole = read(bytes, () => bytes.length);
    const size = 1 + random.below(random.once(2) ? 700 : 5000);
    assert.deepEqual(
      read(bytes, () => size),
      whole,
    );
  },
};

const keys = [
  ...['path', 'linkpath', 'size', 'uid', 'gid', 'mtime', 'SCHILY.xattr.user.a', 'comment'],
  ...['map', 'major', 'minor', 'size', 'realsize', 'name', 'numblocks', 'offset', 'numbytes'].map(
    (key) => `GNU.sparse.${key}`,
  ),
];
const values = [
  ...['', '0', '1', '2', '5', '-1', '-5', '+3', '512', '1.5', '-1.5', '1.', '.5', '0,1', '0,1,2,3'],
  ...[
    '9007199254740993',
    '9223372036854775808',
    'a',
    '../a',
    '/',
    'a\0b',
    '4294967295',
    '1e3',
    ' 1',
  ],
];
const types = ['0', '\0', '1', '2', '3', '4', '5', '6', 'S', 'L', 'K', 'x', 'g', '7'];
const numbers = [0, 1, 2, 3, 511, 512, 513, 1024, -1, 2 ** 31, 2 ** 32 - 1, 2 ** 40, 2 ** 54];

/** An archive whose parts are all well-formed, with contents that may be anything. */
function assembled(random: Random): Buffer {
  const number = () => (random.once(3) ? random.pick(numbers) : random.below(600));
  const parts = Array.from({ length: 1 + random.below(6) }, () => {
    const body = Buffer.alloc(
      random.once(2) ? 0 : random.below(1500),
      random.pick(['x', '1\n', '\0']),
    );
    const records = Array.from({ length: random.below(5) }, (): [string, string] => [
      random.pick(keys),
      random.pick(values),
    ]);
    if (random.once(2)) return Buffer.concat([pax(records), file('name', body)]);
    const type = random.pick(types);
    const format = random.pick(['ustar', 'gnu', 'v7'] as const);
    const map = Array.from({ length: random.below(8) }, (): TarRange => [number(), number()]);
    const data = body.subarray(0, random.below(40));
    if (random.once(4)) return gnuSparse('s', { size: number(), map, data });
    const form = random.pick(['0.0', '0.1', '1.0'] as const);
    if (random.once(4)) return paxSparse(form, 's', { size: number(), map, data });
    const fields = { type, format, name: random.pick(values), linkName: random.pick(values) };
    const sizes = random.once(4) ? { size: number(), mtime: number(), uid: number() } : {};
    return entry({ ...fields, ...sizes }, body);
  });
  return random.once(4) ? Buffer.concat(parts) : tar(...parts);
}

function read(bytes: Buffer, nextSize: () => number): string[] {
  const said: string[] = [];
  let at = 0;
  const reader = new TarReader(() => {
    if (at >= bytes.length) return undefined;
    const chunk = Buffer.from(bytes.subarray(at, at + nextSize()));
    at += chunk.length;
    return chunk;
  }, limits);
  try {
    for (let found = reader.next(); found !== undefined; found = reader.next()) {
      const body = createHash('sha1');
      let length = 0;
      for (let part = reader.read(); part !== undefined; part = reader.read()) {
        length += part.length;
        body.update(part);
      }
      checkEntry(found, length);
      const xattrs = [...(found.xattrs ?? [])];
      said.push(`${JSON.stringify({ ...found, xattrs })} ${length} ${body.digest('hex')}`);
    }
  } catch (error) {
    if (!(error instanceof DrayError)) throw error;
    assert.ok(['LAYER_INVALID', 'LAYER_LIMIT'].includes(error.code), error.code);
    said.push(error.code);
  }
  return said;
}

function checkEntry(found: TarEntry, length: number): void {
  const { type, uid, gid, mode, size, mtime, sparse, path, target } = found;
  for (const id of [uid, gid]) assert.ok(Number.isInteger(id) && id >= 0 && id < 2 ** 32 - 1);
  assert.ok(Number.isInteger(mode) && mode >= 0 && mode <= 0o7777);
  assert.ok(Number.isInteger(size) && size >= 0 && size <= limits.maxBytes);
  assert.ok(Number.isInteger(mtime.seconds) && mtime.seconds >= 0);
  assert.ok(mtime.nanoseconds >= 0 && mtime.nanoseconds < 1e9);
  assert.ok(!path.includes('\0') && !target.includes('\0'));
  const data = sparse?.reduce((sum, range) => sum + range.length, 0) ?? size;
  assert.equal(length, type === 'file' ? data : 0);
}

/** Makes the checksums of what look like headers right, and some of their sizes small. */
function repair(bytes: Buffer, random: Random): void {
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    const block = bytes.subarray(at, at + 512);
    if (block.toString('latin1', 257, 262) !== 'ustar') continue;
    if (random.once(10)) writeNumber(block, 124, 12, random.below(2000));
    block.fill(0x20, 148, 156);
    const sum = block.reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
}
