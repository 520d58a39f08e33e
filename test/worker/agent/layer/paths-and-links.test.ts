import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { rebaseLayer } from '../../../../worker/agent/layer/rebase.ts';
import { requireRoot } from '../../../support/requirements.ts';
import {
  fifo,
  file,
  folder,
  gnuLong,
  hardLink,
  pax,
  symlink,
  type TarText,
  tar,
} from '../../../support/tar.ts';
import { describeTree } from '../../../support/tree.ts';
import { at, Bench, openApplier, outline } from './applying.ts';

describe('paths and links of a layer', () => {
  const applier = openApplier();
  after(() => applier[Symbol.asyncDispose]());

  for (const name of ['../x', 'a/../../x', '../../../../../../../../x', './../x', '/../x']) {
    test(`39. ${name}: handled inside the root`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const { tree } = await bench.apply(tar(file(name, 'in')));
      assert.deepEqual(outline(tree), { x: 'file 2' });
    });
  }

  for (const name of ['/etc/file', '////etc/file', './/etc/file', '/./etc//./file']) {
    test(`40. ${name}: handled inside the root`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const { tree } = await bench.apply(tar(file(name, 'in')));
      assert.deepEqual(outline(tree), { etc: 'directory', 'etc/file': 'file 2' });
    });
  }

  test('40. the absolute path of the canary: handled inside the root', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { tree } = await bench.apply(tar(file(`${bench.canary}/file`, 'in')));
    assert.equal(at(tree, `${bench.canary.slice(1)}/file`).size, 2);
  });

  const escapes: [what: string, target: (canary: string) => string][] = [
    ['absolute', (canary) => canary],
    ['relative', () => '../../canary'],
    ['through itself and up', () => 'up/../../../canary'],
  ];
  for (const [what, target] of escapes) {
    test(`41. a symlink (${what}), then a write through it: handled inside the root`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const to = target(bench.canary);
      const { tree } = await bench.apply(
        tar(
          symlink('up', '..'),
          symlink('out', to),
          file('out/file', 'in'),
          file('out/new', 'in'),
          folder('out/folder', { mode: 0o700, uid: 7 }),
          symlink('out/link', 'x'),
          fifo('out/fifo'),
          hardLink('out/hard', 'out/file'),
        ),
      );
      const real = to.startsWith('/') ? to.slice(1) : 'canary';
      assert.equal(at(tree, 'out').linkTarget, to);
      assert.equal(at(tree, `${real}/file`).size, 2);
      assert.equal(at(tree, `${real}/folder`).uid, 7);
      assert.equal(at(tree, `${real}/hard`).sameAs, `${real}/file`);
    });
  }

  test('41. a symlink, then entries of its own name: replaced, never followed', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { canary } = bench;
    const { tree } = await bench.apply(
      tar(
        ...[symlink('a', `${canary}/secret`), file('a', 'mine', { mode: 0o777, uid: 5 })],
        ...[symlink('b', `${canary}/folder`), folder('b', { mode: 0o711, uid: 5 })],
        ...[symlink('c', `${canary}/secret`), fifo('c')],
        ...[symlink('d', `${canary}/secret`), file('e', 'e'), hardLink('d', 'e')],
      ),
    );
    assert.deepEqual(outline(tree), {
      ...{ a: 'file 4', b: 'directory', c: 'fifo', d: 'file 1', e: 'same as d' },
    });
  });

  test('42. a chain of symlinks that leads up, then a hard link to it: handled inside the root', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { tree } = await bench.apply(
      tar(
        folder('a/b/c/'),
        symlink('a/b/c/up', '../..'),
        symlink('a/b/escape', 'c/up/../..'),
        hardLink('pwn', 'a/b/escape'),
        file('a/b/escape/canary/file', 'in'),
        file('pwn/canary/secret', 'in'),
        hardLink('stolen', 'a/b/escape/canary/secret'),
      ),
    );
    assert.deepEqual(outline(tree), {
      ...{ a: 'directory', 'a/b': 'directory', 'a/b/c': 'directory' },
      ...{ 'a/b/c/up': 'symlink ../..', 'a/b/escape': 'symlink c/up/../..' },
      // The other name of the symlink stands in the root, so that it leads elsewhere.
      ...{ pwn: 'same as a/b/escape', c: 'directory', 'c/up': 'directory', canary: 'directory' },
      ...{ 'canary/file': 'file 2', 'canary/secret': 'file 2', stolen: 'same as canary/secret' },
    });
  });

  for (const [what, target] of escapes) {
    test(`43. a hard link to something outside (${what}): handled inside the root, where it is missing`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const to = target(bench.canary);
      const links = [symlink('up', '..'), symlink('out', to)];
      for (const name of [`${to}/secret`, 'out/secret']) {
        const { layer, tree } = await bench.apply(tar(...links, hardLink('stolen', name)));
        assert.equal(tree.has('stolen'), false);
        assert.deepEqual(
          layer.deferred.links.map(({ path }) => path),
          ['stolen'],
        );
      }
      await bench.refuses(tar(...links, hardLink('stolen', `${to}/secret`)), 'LAYER_INVALID');
    });
  }

  const missing: [what: string, parts: Buffer[]][] = [
    ['a missing target', [hardLink('link', 'nothing')]],
    ['a target that comes later', [hardLink('link', 'later'), file('later')]],
    ['a target below a missing folder', [hardLink('link', 'a/b/c')]],
    ['itself', [hardLink('link', 'link')]],
    ['a folder', [folder('folder'), hardLink('link', 'folder')]],
    ['the root', [hardLink('link', '/')]],
    ['an empty target', [hardLink('link', '')]],
    ['a circle of links', [hardLink('a', 'b'), hardLink('b', 'a')]],
    ['what it replaces a part of', [file('a/file'), hardLink('a', 'a/file')]],
  ];
  for (const [what, parts] of missing) {
    test(`43. a hard link to ${what}: LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      if (what === 'a target that comes later') {
        const { layer } = await bench.apply(tar(...parts));
        assert.deepEqual(layer.deferred.links, [{ path: 'link', target: 'later' }]);
      }
      await bench.refuses(tar(...parts), 'LAYER_INVALID');
    });
  }

  test('44. a hard link to a symlink: linked, never followed by chmod or chown', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { tree } = await bench.apply(
      tar(
        symlink('to', `${bench.canary}/secret`, { uid: 3, mtime: 9 }),
        hardLink('link', 'to', { mode: 0o4777, uid: 99, gid: 99, mtime: 1 }),
        // Of the target's name once more: the other name keeps what it has.
        symlink('to', 'elsewhere'),
      ),
    );
    assert.deepEqual(outline(tree), {
      ...{ link: `symlink ${bench.canary}/secret`, to: 'symlink elsewhere' },
    });
    assert.deepEqual([at(tree, 'link').uid, at(tree, 'link').mtimeNs], [3, 9_000_000_000n]);
  });

  for (const name of ['', '.', '/.', './', '/', '..', 'a/..', '../..']) {
    test(`45. an entry whose name is ${JSON.stringify(name)}: ignored, LAYER_INVALID where it is not a directory`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const { tree } = await bench.apply(tar(folder(name, { mode: 0o777, uid: 5 }), file('kept')));
      assert.deepEqual(outline(tree), { kept: 'file 0' });
      for (const part of [file(name, 'x', { format: 'gnu' }), symlink(name, '/etc'), fifo(name)]) {
        await assert.rejects(bench.apply(tar(part)), { code: 'LAYER_INVALID' });
      }
      await bench.refuses(tar(file('x'), hardLink(name, 'x')), 'LAYER_INVALID');
    });
  }

  test('64. duplicate entries: the last wins', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { tree } = await bench.apply(
      tar(
        file('file', 'first', { uid: 1, mode: 0o4755 }),
        hardLink('other', 'file'),
        file('file', 'second one', { uid: 2, mode: 0o600 }),
        pax({ 'SCHILY.xattr.user.a': 'first' }),
        folder('folder', { uid: 1, mtime: 1 }),
        file('folder/in'),
        folder('folder', { uid: 2, mode: 0o700, mtime: 2 }),
        ...[symlink('link', 'a'), symlink('link', 'b')],
      ),
    );
    assert.deepEqual(outline(tree), {
      ...{ file: 'file 10', other: 'file 5', link: 'symlink b' },
      ...{ folder: 'directory', 'folder/in': 'file 0' },
    });
    const { mode, uid, mtimeNs, xattrs } = at(tree, 'folder');
    assert.deepEqual([mode, uid, mtimeNs, xattrs], ['700', 2, 2_000_000_000n, {}]);
    assert.deepEqual([at(tree, 'file').mode, at(tree, 'file').uid], ['600', 2]);
  });

  test('65. a file that replaces a directory and the reverse: replaced, never followed', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { layer, directory } = await bench.apply(
      tar(
        ...[file('a/b/c/file'), symlink('a/b/link', bench.canary), hardLink('a/b/lower', 'below')],
        ...[file('a/b/.wh.gone'), file('a', 'file')],
        ...[file('b', 'file'), folder('b'), file('b/in')],
        ...[symlink('c', bench.canary), folder('c'), file('c/folder')],
        ...[folder('d/e'), symlink('d/e', bench.canary), file('d/e/file', 'in')],
      ),
    );
    const lower = await bench.stack(tar(file('b/lower'), file('below')));
    await rebaseLayer(directory, lower, layer.deferred);
    const inside = bench.canary.slice(1);
    const shown = outline(await describeTree(directory));
    for (const path of Object.keys(shown)) {
      if (`${inside}/`.startsWith(`${path}/`)) delete shown[path];
    }
    assert.deepEqual(shown, {
      ...{ a: 'file 4', b: 'directory', 'b/in': 'file 0', c: 'directory', 'c/folder': 'file 0' },
      ...{ d: 'directory', 'd/e': `symlink ${bench.canary}`, [`${inside}/file`]: 'file 2' },
    });
  });

  test('72. names that are not UTF-8: the bytes are kept, and two different names stay different', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const bytes = (...values: number[]) => Buffer.from(values);
    const { tree } = await bench.apply(
      tar(
        file(bytes(0x66, 0xff), 'one'),
        file(bytes(0x66, 0xfe), 'two'),
        folder(bytes(0xe9)),
        symlink(bytes(0xe9, 0x2f, 0xc3), bytes(0x66, 0xff)),
        ...[pax({ path: bytes(0x70, 0xff) }), file('x', 'three!')],
        ...[gnuLong('name', bytes(0x67, 0xff)), file('x', 'four')],
        ...[pax({ linkpath: bytes(0x66, 0xfe) }), hardLink('link', 'x')],
        file('n\u00e9', 'composed'),
        file('ne\u0301', 'de'),
      ),
    );
    assert.deepEqual(outline(tree), {
      ...{ 'f\\xff': 'file 3', 'f\\xfe': 'file 3', 'p\\xff': 'file 6', 'g\\xff': 'file 4' },
      ...{ '\\xe9': 'directory', '\\xe9/\\xc3': 'symlink f\\xff', link: 'same as f\\xfe' },
      ...{ 'n\u00e9': 'file 8', 'ne\u0301': 'file 2' },
    });
    assert.notEqual(at(tree, 'f\\xff').sha256, at(tree, 'f\\xfe').sha256);
  });

  const long = 'n'.repeat(256);
  const path = 'p/'.repeat(700) + 'q'.repeat(200).concat('/').repeat(14);
  const unmakeable: [what: string, parts: Buffer[]][] = [
    ['a file name over 255 bytes', [gnuLong('name', long), file('x')]],
    ['a folder over 255 bytes', [pax({ path: `${long}/x` }), file('x')]],
    ['a symlink name over 255 bytes', [pax({ path: long }), symlink('x', 'y')]],
    ['a whiteout over 255 bytes', [pax({ path: `.wh.${long}` }), file('x')]],
    ['a path over PATH_MAX', [pax({ path }), file('x')]],
    ['a hard link to a name over 255 bytes', [pax({ linkpath: long }), hardLink('x', 'y')]],
    ['a hard link to a path over PATH_MAX', [pax({ linkpath: path }), hardLink('x', 'y')]],
    ['a symlink to a path over PATH_MAX', [pax({ linkpath: path }), symlink('x', 'y')]],
  ];
  for (const [what, parts] of unmakeable) {
    test(`73. ${what}: LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(tar(...parts), 'LAYER_INVALID');
    });
  }

  test('73. the longest names and paths that there can be: accepted', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const name = 'n'.repeat(255);
    const deep = `${'d'.repeat(200)}/`.repeat(10);
    const { tree } = await bench.apply(
      tar(...[gnuLong('name', name), file('x')], ...[pax({ path: `${deep}end` }), file('x')]),
    );
    assert.ok(tree.has(name) && tree.has(`${deep}end`));
  });

  const withNul: [what: string, parts: (text: TarText) => Buffer[]][] = [
    ['a PAX path', (text) => [pax({ path: text }), file('x')]],
    ['a PAX link path', (text) => [pax({ linkpath: text }), symlink('x', 'y')]],
    ['a GNU long name', (text) => [gnuLong('name', text), file('x')]],
    ['a GNU long target', (text) => [gnuLong('target', text), symlink('x', 'y')]],
    ['a PAX link path', (text) => [file('a'), pax({ linkpath: text }), hardLink('x', 'y')]],
  ];
  for (const [what, parts] of withNul) {
    test(`74. NUL in a name (${what}): LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(tar(...parts('a\0b')), 'LAYER_INVALID');
    });
  }
});
