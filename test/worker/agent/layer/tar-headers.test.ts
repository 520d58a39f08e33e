import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { requireRoot } from '../../../support/requirements.ts';
import {
  device,
  endMarker,
  entry,
  fifo,
  file,
  folder,
  gnuLong,
  hardLink,
  header,
  pax,
  paxOf,
  symlink,
  tar,
  writeNumber,
} from '../../../support/tar.ts';
import { at, Bench, openApplier, outline } from './applying.ts';

describe('headers of a layer', () => {
  const applier = openApplier();
  after(() => applier[Symbol.asyncDispose]());

  test('57. a PAX size override: obeyed for regular files only', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const size = pax({ size: '4' });
    const { tree } = await bench.apply(
      tar(
        ...[size, file('file', 'body', { size: 0 })],
        ...[size, folder('folder'), size, symlink('link', 'x'), size, fifo('pipe')],
        ...[size, hardLink('hard', 'file'), size, device('char', 'null', [1, 3])],
        ...[pax({ size: '' }), file('empty', 'own size')],
        file('after', 'x'),
      ),
    );
    assert.deepEqual(outline(tree), {
      ...{ after: 'file 1', empty: 'file 8', file: 'file 4', hard: 'same as file' },
      ...{ folder: 'directory', link: 'symlink x', null: 'character 1:3', pipe: 'fifo' },
    });
  });

  const malformed: [what: string, body: string][] = [
    ['a negative size', '12 size=-12\n'],
    ['a size that is no number', '10 size=x\n'],
    ['a size in hex', '12 size=0x1\n'],
    ['a size beyond 64 bits', '29 size=99999999999999999999\n'],
    ['a size beyond 2^53', '25 size=9007199254740993\n'],
    ['a uid that is no number', '9 uid=x1\n'],
    ['a time that is no number', '12 mtime=1x\n'],
    ['a time with two points', '15 mtime=1.2.3\n'],
    ['a length that is too short', '3 a=b\n'],
    ['a length that is too long', '99 a=b\n'],
    ['a length of 0', '0 a=b\n'],
    ['a negative length', '-6 a=b\n'],
    ['a length that is no number', 'x a=b\n'],
    ['no length', ' a=b\n'],
    ['no blank', '6a=bcd\n'],
    ['no newline', '6 a=bc'],
    ['no equals sign', '6 abc\n'],
    ['no key', '5 =b\n'],
    ['a key with a NUL', '8 a\0b=c\n'],
    ['a path with a NUL', '12 path=a\0b\n'],
    ['garbage behind a record', '6 a=b\nx'],
    ['zeros behind a record', '6 a=b\n\0\0\0'],
  ];
  for (const [what, body] of malformed) {
    test(`58. malformed PAX records (${what}): LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(tar(paxOf(body), file('x')), 'LAYER_INVALID');
    });
  }

  test('59. a PAX header followed by a GNU long name: the long name wins, the other records hold, as in Go', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const records = pax({ path: 'from-pax', linkpath: 'to-pax', uid: '77', size: '3' });
    const { tree } = await bench.apply(
      tar(
        ...[records, gnuLong('name', 'from-gnu'), file('short', 'abc', { size: 0 })],
        ...[gnuLong('name', 'gnu-first'), pax({ path: 'other', uid: '78' }), file('short')],
        ...[records, gnuLong('target', 'to-gnu'), symlink('short', 'y')],
        // Of two of a kind, the second counts, and with it only its own records.
        ...[pax({ uid: '5', gid: '5' }), pax({ gid: '6' }), file('twice')],
      ),
    );
    assert.deepEqual(outline(tree), {
      ...{ 'from-gnu': 'file 3', 'gnu-first': 'file 0' },
      ...{ 'from-pax': 'symlink to-gnu', twice: 'file 0' },
    });
    assert.deepEqual([at(tree, 'from-gnu').uid, at(tree, 'gnu-first').uid], [77, 78]);
    assert.deepEqual([at(tree, 'twice').uid, at(tree, 'twice').gid], [0, 6]);
  });

  test('60. global PAX headers: ignored, as containerd does, and what stood before one is forgotten', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { tree } = await bench.apply(
      tar(
        paxOf('12 uid=12345\n'.replace('12 ', '13 '), 'g'),
        file('first'),
        ...[pax({ path: 'forgotten', uid: '5' }), paxOf('', 'g'), file('second')],
        ...[gnuLong('name', 'forgotten'), paxOf('', 'g'), file('third')],
      ),
    );
    const owners = [...tree].map(([path, { uid }]) => `${path} ${uid}`);
    assert.deepEqual(owners.slice(1), ['first 0', 'second 0', 'third 0']);
    await bench.refuses(tar(paxOf('99 a=b\n', 'g'), file('x')), 'LAYER_INVALID');
  });

  test('61. GNU long names: accepted, up to 1 MiB', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const name = `${'folder/'.repeat(40)}file`;
    const target = 'x/'.repeat(2000);
    // Of a long name's bytes, the last is its NUL.
    const most = `${'./'.repeat(2 ** 19 - 3)}found`;
    const { tree } = await bench.apply(
      tar(
        ...[gnuLong('name', name), file('short', 'abc')],
        ...[gnuLong('name', 'link'), gnuLong('target', target), symlink('s', 't')],
        ...[gnuLong('name', most), file('short')],
        entry({ name: '././@LongLink', type: 'L', format: 'gnu' }, 'without-nul'),
        file('short'),
      ),
    );
    assert.equal(at(tree, name).size, 3);
    assert.equal(at(tree, 'link').linkTarget, target);
    assert.ok(tree.has('found') && tree.has('without-nul'));
    await bench.refuses(tar(gnuLong('name', `${most}.`), file('x')), 'LAYER_LIMIT');
  });

  test('63. a link or directory entry with a size: it has no body, and nothing hangs', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const fields = { size: 2 ** 33 };
    const { tree } = await bench.apply(
      tar(
        file('file'),
        folder('folder', fields),
        symlink('link', 'x', fields),
        hardLink('hard', 'file', fields),
        fifo('pipe', fields),
        device('char', 'null', [1, 3], fields),
        entry({ ...fields, name: 'old/', type: '\0', format: 'v7', mode: 0o711 }),
        file('after', 'x'),
      ),
    );
    assert.deepEqual(Object.keys(outline(tree)).sort(), [
      ...['after', 'file', 'folder', 'hard', 'link', 'null', 'old', 'pipe'],
    ]);
    assert.equal(at(tree, 'old').type, 'directory');
  });

  test('71. entries after the end marker: ignored, and still part of the diffID', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const whole = tar(file('a'));
    const { createHash } = await import('node:crypto');
    for (const rest of [file('b'), Buffer.from('garbage'), Buffer.alloc(1 << 20, 'x')]) {
      const archive = Buffer.concat([whole, rest]);
      const { tree, layer } = await bench.apply(archive);
      assert.deepEqual(outline(tree), { a: 'file 0' });
      assert.equal(layer.diffID, `sha256:${createHash('sha256').update(archive).digest('hex')}`);
      assert.equal(layer.tarBytes, archive.length);
    }
  });

  test('71. no end marker, half of one, and a last file without its padding: accepted, as Go does', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const whole = tar(file('a', 'body'));
    for (const length of [512 + 4, 512 + 5, 1024, 1536, whole.length]) {
      const { tree } = await bench.apply(whole.subarray(0, length));
      assert.deepEqual(outline(tree), { a: 'file 4' });
    }
  });

  test('71. an archive of nothing but its end marker: accepted', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { tree, layer } = await bench.apply(endMarker);
    assert.deepEqual([outline(tree), layer.entries], [{}, 0]);
  });

  const cut = tar(file('a', 'x'.repeat(700)), file('b'));
  for (const length of [1, 511, 513, 512 + 699, 512 + 1024 + 1, 512 + 1024 + 511]) {
    test(`67. an archive cut after ${length} bytes: LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(cut.subarray(0, length), 'LAYER_INVALID');
    });
  }

  for (const type of ['7', 'V', 'M', 'N', 'D', 'X', 'A', '8', ' ', '\xff']) {
    test(`78. an unknown entry type (${JSON.stringify(type)}): LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(tar(file('a'), file('x', '', { type })), 'LAYER_INVALID', {
        message: /unknown type/,
      });
    });
  }

  const broken: [what: string, archive: Buffer][] = [
    ['a wrong checksum', tar(spoil(file('x'), 0))],
    ['a wrong checksum after an entry', tar(file('a'), spoil(file('x'), 0))],
    ['a checksum that is no number', tar(spoil(file('x'), 148))],
    ['a block of zeros inside', tar(file('a'), Buffer.alloc(512), file('b'))],
    ['text', Buffer.alloc(2048, 'no archive ')],
    ['a size that is no number', tar(file('x', '', { change: (b) => b.write('12x4', 124) }))],
    ['a negative size', tar(file('x', '', { size: -1 }))],
    ['a size beyond 2^53', tar(file('x', '', { size: 2 ** 60 }))],
    ['a size beyond 64 bits', tar(file('x', '', { change: (b) => b.fill(0xbf, 124, 136) }))],
    ['a mode that is no number', tar(file('x', '', { change: (b) => b.write('0o7', 100) }))],
    ['a long name with a negative size', tar(header({ type: 'L', size: -5, format: 'gnu' }))],
    ['a PAX header of 2^40 bytes', tar(header({ type: 'x', size: -(2 ** 40) }))],
  ];
  for (const [what, archive] of broken) {
    test(`58. ${what} in a header: LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(archive, 'LAYER_INVALID');
    });
  }

  test('the formats of headers: v7, ustar with a prefix, star, GNU, and checksums of signed bytes', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const prefix = 'p'.repeat(150);
    const signed = file(Buffer.from([0x73, 0xe9]));
    const sum = signed.subarray(0, 512).reduce((total, byte, index) => {
      const value = index >= 148 && index < 156 ? 0x20 : byte;
      return total + (value > 127 ? value - 256 : value);
    }, 0);
    signed.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    const { tree } = await bench.apply(
      tar(
        entry({ name: 'v7', type: '\0', format: 'v7', mode: 0o644 }, 'v7'),
        file('name', '', { prefix }),
        file('gnu', '', { format: 'gnu', change: (b) => writeNumber(b, 345, 12, 1_600_000_000) }),
        file('star', '', {
          prefix: 'short',
          change: (b) => {
            writeNumber(b, 476, 12, 1_600_000_000);
            b.write('tar\0', 508, 'latin1');
          },
        }),
        signed,
      ),
    );
    assert.deepEqual(Object.keys(outline(tree)).sort(), [
      ...['gnu', prefix, `${prefix}/name`, 'short', 'short/star', 's\\xe9', 'v7'].sort(),
    ]);
  });
});

/** Changes a byte after the checksum was made. */
function spoil(part: Buffer, index: number): Buffer {
  part[index] = 0x7a;
  return part;
}
