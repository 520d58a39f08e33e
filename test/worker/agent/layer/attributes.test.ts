import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { requireRoot } from '../../../support/requirements.ts';
import {
  device,
  fifo,
  file,
  folder,
  hardLink,
  pax,
  symlink,
  type TarText,
  tar,
  writeNumber,
} from '../../../support/tar.ts';
import { at, Bench, openApplier, outline } from './applying.ts';

/** VFS_CAP_REVISION_2 with the effective bit, CAP_NET_RAW permitted (linux/capability.h). */
const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');

describe('attributes of a layer', () => {
  const applier = openApplier();
  after(() => applier[Symbol.asyncDispose]());

  test('52. device nodes: created, never opened', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { tree } = await bench.apply(
      tar(
        device('char', 'null', [1, 3], { mode: 0o666, uid: 1, gid: 2, mtime: 3 }),
        device('char', 'high', [4095, 2 ** 20 - 1]),
        // Opening any of these fails, hangs or does something: there is no such device.
        device('block', 'disk', [4000, 300]),
        hardLink('null2', 'null'),
      ),
    );
    assert.deepEqual(outline(tree), {
      ...{ null: 'character 1:3', high: 'character 4095:1048575', disk: 'block 4000:300' },
      null2: 'same as null',
    });
    const { mode, uid, gid, mtimeNs } = at(tree, 'null');
    assert.deepEqual([mode, uid, gid, mtimeNs], ['666', 1, 2, 3_000_000_000n]);
  });

  for (const numbers of [
    [4096, 0],
    [0, 2 ** 20],
    [-1, 1],
    [1, -1],
  ] as const) {
    test(`52. the device ${numbers.join(':')}, which can't be: LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(tar(device('block', 'device', numbers)), 'LAYER_INVALID');
    });
  }

  test('53. FIFOs: created, never opened for writing', { timeout: 20_000 }, async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    // Opening a FIFO hangs: entries that replace one, or are replaced by it, open none.
    const { tree } = await bench.apply(
      tar(
        fifo('pipe', { mode: 0o622, uid: 4, mtime: 5 }),
        ...[fifo('a'), file('a', 'file')],
        ...[file('b'), fifo('b')],
        ...[hardLink('c', 'pipe'), file('.wh.pipe')],
      ),
    );
    assert.deepEqual(outline(tree), { a: 'file 4', b: 'fifo', c: 'fifo', pipe: 'same as c' });
    assert.deepEqual([at(tree, 'c').mode, at(tree, 'c').uid], ['622', 4]);
  });

  test('54. setuid bits and file capabilities: accepted, also after a change of owner', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { tree } = await bench.apply(
      tar(
        file('setuid', 'x', { mode: 0o4755, uid: 1000, gid: 1000 }),
        file('setgid', 'x', { mode: 0o2755, uid: 1000, gid: 1000 }),
        pax({ 'SCHILY.xattr.security.capability': capability }),
        file('capable', 'x', { mode: 0o755, uid: 1000, gid: 1000 }),
        folder('sticky', { mode: 0o1777 }),
        folder('group', { mode: 0o2775, gid: 50 }),
        file('group/in', 'x', { gid: 7 }),
        folder('group/folder'),
        fifo('pipe', { mode: 0o6666, uid: 9 }),
        file('none', 'x', { mode: 0 }),
      ),
    );
    const modes = [...tree].map(([path, { mode, gid }]) => `${path} ${mode} ${gid}`);
    assert.deepEqual(modes.slice(1), [
      ...['capable 755 1000', 'group 2775 50', 'group/folder 755 0', 'group/in 644 7'],
      ...['none 0 0', 'pipe 6666 0', 'setgid 2755 1000', 'setuid 4755 1000', 'sticky 1777 0'],
    ]);
    assert.deepEqual(at(tree, 'capable').xattrs, {
      'security.capability': capability.toString('hex'),
    });
  });

  const steering: [name: string, part: Buffer][] = [
    ['trusted.overlay.opaque', folder('x')],
    ['trusted.overlay.redirect', folder('x')],
    ['trusted.overlay.metacopy', file('x')],
    ['trusted.overlay.', file('x')],
    ['user.overlay.opaque', folder('x')],
    ['user.overlay.whiteout', file('x')],
  ];
  for (const [name, part] of steering) {
    test(`55. the xattr ${name} in the archive: LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(tar(pax({ [`SCHILY.xattr.${name}`]: 'y' }), part), 'LAYER_INVALID', {
        message: /overlay/,
      });
    });
  }

  test('56. security.capability and binary xattrs: accepted, set after chown', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const binary = Buffer.from([0, 0xff, 0x0a, 0x3d, 0]);
    const { tree } = await bench.apply(
      tar(
        pax({
          'SCHILY.xattr.security.capability': capability,
          'SCHILY.xattr.user.binary': binary,
          'SCHILY.xattr.user.empty': '',
          'SCHILY.xattr.security.mine': 'a=b\nc',
        }),
        file('file', 'x', { uid: 8, gid: 8, mode: 0o4755 }),
        pax({ 'SCHILY.xattr.user.folder': binary }),
        folder('folder', { uid: 8, mode: 0o500 }),
        pax({ 'SCHILY.xattr.security.link': 'l' }),
        symlink('link', `${bench.canary}/secret`),
        pax({ 'SCHILY.xattr.security.pipe': 'p' }),
        fifo('pipe'),
      ),
    );
    assert.deepEqual(at(tree, 'file').xattrs, {
      ...{
        'security.capability': capability.toString('hex'),
        'security.mine': Buffer.from('a=b\nc').toString('hex'),
      },
      ...{ 'user.binary': binary.toString('hex'), 'user.empty': '' },
    });
    assert.equal(at(tree, 'file').mode, '4755');
    assert.deepEqual(at(tree, 'folder').xattrs, { 'user.folder': binary.toString('hex') });
    assert.deepEqual(at(tree, 'link').xattrs, { 'security.link': '6c' });
    assert.deepEqual(at(tree, 'pipe').xattrs, { 'security.pipe': '70' });
  });

  test('56. a user xattr on what can have none: left out, as containerd does', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const records = pax({ 'SCHILY.xattr.user.a': 'b' });
    const parts = [symlink('link', 'x'), fifo('pipe'), device('char', 'null', [1, 3])];
    const { tree } = await bench.apply(tar(...parts.flatMap((part) => [records, part])));
    for (const path of ['link', 'pipe', 'null']) assert.deepEqual(at(tree, path).xattrs, {});
  });

  const impossible: [what: string, name: string, value: TarText][] = [
    ['an oversized name', `user.${'n'.repeat(251)}`, 'x'],
    ['a NUL-bearing name', 'user.a\0b', 'x'],
    ['an empty name', '', 'x'],
    ['an oversized value', 'user.a', Buffer.alloc(65_537)],
    ['a value that the file system has no room for', 'user.a', Buffer.alloc(60_000)],
    ['a broken capability', 'security.capability', 'xx'],
  ];
  for (const [what, name, value] of impossible) {
    test(`56. an xattr with ${what}: LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      for (const part of [file('x'), folder('x')]) {
        const layer = tar(pax({ [`SCHILY.xattr.${name}`]: value }), part);
        await bench.refuses(layer, 'LAYER_INVALID');
      }
    });
  }

  const times: [what: string, parts: Buffer[], mtimeNs: bigint][] = [
    ['-1', [file('x', '', { mtime: -1 })], 0n],
    ['-1.5 (PAX)', [pax({ mtime: '-1.5' }), file('x')], 0n],
    ['huge', [file('x', '', { mtime: 2 ** 60 })], 0n],
    ['huge (PAX)', [pax({ mtime: '9999999999999' }), file('x')], 0n],
    ['the last that there is', [pax({ mtime: '9223372035.5' }), file('x')], 9223372035500000000n],
    ['beyond 2038', [file('x', '', { mtime: 2 ** 33 - 1 })], BigInt(2 ** 33 - 1) * 1_000_000_000n],
    ['with nanoseconds', [pax({ mtime: '12.3456789019' }), file('x')], 12_345_678_901n],
    ['with a point and no more', [pax({ mtime: '12.' }), file('x')], 12_000_000_000n],
    ['of an empty record', [pax({ mtime: '' }), file('x', '', { mtime: 5 })], 5_000_000_000n],
  ];
  for (const [what, parts, mtimeNs] of times) {
    test(`75. the mtime ${what}: accepted, clamped where it must be`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      assert.equal(at((await bench.apply(tar(...parts))).tree, 'x').mtimeNs, mtimeNs);
    });
  }

  test('75. mtimes of folders and symlinks: as the archive says, whatever comes into them later', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { tree } = await bench.apply(
      tar(
        pax({ mtime: '7.000000008' }),
        folder('a'),
        folder('a/b', { mtime: 9 }),
        file('a/b/file'),
        file('a/later'),
        file('a/b/.wh.gone'),
        symlink('link', 'x', { mtime: 10 }),
      ),
    );
    assert.equal(at(tree, 'a').mtimeNs, 7_000_000_008n);
    assert.equal(at(tree, 'a/b').mtimeNs, 9_000_000_000n);
    assert.equal(at(tree, 'link').mtimeNs, 10_000_000_000n);
  });

  test('76. uid and gid up to 2^32-2: accepted', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const most = 2 ** 32 - 2;
    const { tree } = await bench.apply(
      tar(
        file('base256', '', { uid: most, gid: most }),
        ...[pax({ uid: `${most}`, gid: '3000000' }), folder('pax')],
        symlink('link', 'x', { uid: 2_097_152, gid: 1 }),
        device('char', 'null', [1, 3], { uid: 2 ** 31, gid: most }),
      ),
    );
    const owners = [...tree].map(([path, { uid, gid }]) => `${path} ${uid}:${gid}`);
    assert.deepEqual(owners.slice(1), [
      ...[`base256 ${most}:${most}`, 'link 2097152:1', `null ${2 ** 31}:${most}`],
      `pax ${most}:3000000`,
    ]);
  });

  const owners: [what: string, parts: Buffer[]][] = [
    ['the uid 2^32-1', [file('x', '', { uid: 2 ** 32 - 1 })]],
    ['the gid 2^32-1', [file('x', '', { gid: 2 ** 32 - 1 })]],
    ['the uid 2^32', [symlink('x', 'y', { uid: 2 ** 32 })]],
    ['the uid 2^40 (PAX)', [pax({ uid: `${2 ** 40}` }), folder('x')]],
    ['the gid -1', [file('x', '', { gid: -1 })]],
    ['the uid -1 (PAX)', [pax({ uid: '-1' }), file('x')]],
    ['a uid of 12 bytes', [file('x', '', { change: (b) => writeNumber(b, 108, 8, 2 ** 52) })]],
  ];
  for (const [what, parts] of owners) {
    test(`76. ${what}: LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(tar(...parts), 'LAYER_INVALID');
    });
  }
});
