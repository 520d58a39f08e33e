import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { after, describe, test } from 'node:test';
import { rebaseLayer } from '../../../../worker/agent/layer/rebase.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { device, fifo, file, folder, hardLink, pax, symlink, tar } from '../../../support/tar.ts';
import { describeTree } from '../../../support/tree.ts';
import { at, Bench, merged, mergedOutline, openApplier, outline } from './applying.ts';

describe('a layer upon the layers below', () => {
  const applier = openApplier();
  after(() => applier[Symbol.asyncDispose]());

  test('43. a hard link to an entry of a lower layer: one file, copied up with all attributes', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
    const layers = await bench.stack(
      tar(
        pax({ 'SCHILY.xattr.security.capability': capability, mtime: '5.000000006' }),
        file('bin/tool', 'tool', { mode: 0o4755, uid: 3, gid: 4 }),
        symlink('bin/link', 'tool', { uid: 9, mtime: 7 }),
        device('char', 'null', [1, 3], { mode: 0o666 }),
        fifo('pipe', { mode: 0o620 }),
      ),
      tar(file('unrelated')),
      tar(
        hardLink('one', 'bin/tool'),
        hardLink('two', '/bin/tool'),
        hardLink('three', 'two'),
        hardLink('bin/four', 'bin/link'),
        hardLink('five', 'null'),
        hardLink('six', 'pipe'),
      ),
    );
    const tree = await merged(layers);
    const { mode, uid, gid, mtimeNs, xattrs, sha256 } = at(tree, 'one');
    assert.deepEqual([mode, uid, gid, mtimeNs], ['4755', 3, 4, 5_000_000_006n]);
    assert.deepEqual(xattrs, { 'security.capability': capability.toString('hex') });
    assert.equal(sha256, at(tree, 'bin/tool').sha256);
    const same = [...tree].flatMap(([path, { sameAs }]) => (sameAs ? [`${path} ${sameAs}`] : []));
    assert.deepEqual(same, [
      ...['bin/link bin/four', 'null five', 'one bin/tool', 'six pipe'],
      ...['three bin/tool', 'two bin/tool'],
    ]);
    assert.deepEqual([at(tree, 'bin/four').uid, at(tree, 'bin/four').linkTarget], [9, 'tool']);
    assert.equal(at(tree, 'five').device, '1:3');
  });

  test('43. a hard link by a path through a lower symlink: inside the root', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const layers = await bench.stack(
      tar(
        ...[symlink('lib', 'usr/lib'), file('usr/lib/so', 'lower')],
        ...[symlink('out', bench.canary), symlink('up', '../../..')],
      ),
      tar(file('usr/lib/new', 'this one'), hardLink('a', 'lib/so'), hardLink('b', 'lib/new')),
    );
    const shown = await mergedOutline(layers);
    assert.deepEqual([shown.a, shown['usr/lib/so']], ['file 5', 'same as a']);
    assert.deepEqual([shown.b, shown['usr/lib/new']], ['file 8', 'same as b']);
    for (const target of ['out/secret', `up${bench.canary}/secret`, 'out/folder/file']) {
      const upper = await bench.apply(tar(hardLink('stolen', target)));
      await assert.rejects(rebaseLayer(upper.directory, layers, upper.layer.deferred), {
        code: 'LAYER_INVALID',
      });
    }
  });

  test('43. a hard link to what this layer hides: the link alone, nothing hidden shows again', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const lower = tar(file('d/old', 'old'), file('d/other'), file('top', 'top'));
    const hiding: [what: string, part: Buffer[], shown: Record<string, string>][] = [
      ['a whiteout', [file('d/.wh.old')], { 'd/other': 'file 0', top: 'file 3' }],
      ['an opaque folder', [file('d/.wh..wh..opq')], { top: 'file 3' }],
      ['a whiteout of the folder', [file('.wh.d'), folder('d')], { top: 'file 3' }],
    ];
    for (const [, parts, shown] of hiding) {
      const layers = await bench.stack(
        lower,
        tar(hardLink('link', 'd/old'), hardLink('again', 'd/old'), ...parts),
      );
      assert.deepEqual(await mergedOutline(layers), {
        ...{ d: 'directory', again: 'file 3', link: 'same as again', ...shown },
      });
    }
    const layers = await bench.stack(
      lower,
      tar(hardLink('link', 'top'), hardLink('e/link', 'd/old'), file('.wh..wh..opq')),
    );
    assert.deepEqual(await mergedOutline(layers), {
      ...{ link: 'file 3', e: 'directory', 'e/link': 'file 3' },
    });
  });

  test('43. a hard link to what a layer between deleted: LAYER_INVALID', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const bases = [
      [tar(file('d/old')), tar(file('d/.wh.old'))],
      [tar(file('d/old')), tar(file('.wh.d'))],
      [tar(file('d/old')), tar(file('d/.wh..wh..opq'))],
      [tar(file('d/old')), tar(file('d'))],
      [tar(folder('d/old'))],
    ];
    for (const base of bases) {
      await assert.rejects(bench.stack(...base, tar(hardLink('link', 'd/old'))), {
        code: 'LAYER_INVALID',
      });
    }
  });

  test('41. paths through a lower layer’s symlink (merged /usr): they come out where it leads', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const base = tar(
      ...['bin', 'lib'].map((name) => symlink(name, `usr/${name}`)),
      symlink('sbin', '/usr/bin', { mtime: 3 }),
      folder('usr', { mode: 0o711, mtime: 4 }),
      folder('usr/lib', { mode: 0o750, uid: 5, mtime: 6 }),
      file('usr/lib/old', 'old'),
      file('usr/lib/gone'),
      folder('usr/bin'),
    );
    const layers = await bench.stack(
      base,
      tar(file('unrelated')),
      tar(
        file('lib/new', 'new'),
        file('lib/old', 'newer'),
        file('lib/.wh.gone'),
        file('lib/deep/er/file'),
        folder('lib/folder', { mode: 0o700, uid: 8 }),
        symlink('bin/link', 'x'),
        file('sbin/tool', 'tool'),
        hardLink('bin/tool2', 'sbin/tool'),
      ),
    );
    const tree = await merged(layers);
    assert.deepEqual(outline(tree), {
      ...{ bin: 'symlink usr/bin', lib: 'symlink usr/lib', sbin: 'symlink /usr/bin' },
      ...{ unrelated: 'file 0', usr: 'directory', 'usr/bin': 'directory' },
      ...{ 'usr/bin/link': 'symlink x', 'usr/bin/tool': 'file 4' },
      ...{ 'usr/bin/tool2': 'same as usr/bin/tool', 'usr/lib': 'directory' },
      ...{ 'usr/lib/deep': 'directory', 'usr/lib/deep/er': 'directory' },
      ...{ 'usr/lib/deep/er/file': 'file 0', 'usr/lib/folder': 'directory' },
      ...{ 'usr/lib/new': 'file 3', 'usr/lib/old': 'file 5' },
    });
    const { mode, uid, mtimeNs } = at(tree, 'usr/lib');
    assert.deepEqual([mode, uid, mtimeNs], ['750', 5, 6_000_000_000n]);
    assert.equal(at(tree, 'usr').mode, '711');
    assert.deepEqual([at(tree, 'usr/lib/folder').mode, at(tree, 'usr/lib/folder').uid], ['700', 8]);
  });

  test('41. paths through a lower layer’s symlink that leads out: inside the root', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { canary } = bench;
    const layers = await bench.stack(
      tar(
        ...[symlink('abs', canary), symlink('rel', '../../canary')],
        ...[symlink('chain', 'abs/../canary'), symlink('self', '/proc/self/root')],
      ),
      tar(
        ...[file('abs/file', 'in'), file('abs/.wh.secret'), folder('abs/folder', { uid: 5 })],
        ...[file('rel/secret', 'in'), file('rel/folder/file', 'in')],
        ...[file('chain/new', 'in'), file(`self${canary}/file`, 'in')],
      ),
    );
    const shown = await mergedOutline(layers);
    assert.deepEqual([shown.abs, shown['canary/secret']], [`symlink ${canary}`, 'file 2']);
    assert.equal(shown[`${canary.slice(1)}/file`], 'file 2');
    assert.equal(shown[`${canary.slice(1)}/new`], 'file 2');
    assert.equal(shown[`proc/self/root${canary}/file`], 'file 2');
  });

  test('41. an entry for the folder itself replaces a lower layer’s symlink', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const layers = await bench.stack(
      tar(symlink('lib', 'usr/lib'), file('usr/lib/old')),
      tar(folder('lib', { mode: 0o700 }), file('lib/new')),
    );
    assert.deepEqual(await mergedOutline(layers), {
      ...{ lib: 'directory', 'lib/new': 'file 0', usr: 'directory' },
      ...{ 'usr/lib': 'directory', 'usr/lib/old': 'file 0' },
    });
  });

  test('65. layers that replace files by folders and the reverse', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const layers = await bench.stack(
      tar(file('a', 'file'), file('b/in/deep'), symlink('c', bench.canary), file('d/x')),
      tar(file('a/in/file'), file('b', 'now a file'), file('c', 'c'), fifo('d')),
      tar(folder('b'), file('b/new'), folder('d'), symlink('a', '/')),
    );
    assert.deepEqual(await mergedOutline(layers), {
      ...{ a: 'symlink /', b: 'directory', 'b/new': 'file 0', c: 'file 1', d: 'directory' },
    });
  });

  test('a folder without an entry of its own takes what the layers below say of it', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const layers = await bench.stack(
      tar(
        pax({ 'SCHILY.xattr.user.a': 'b', mtime: '1.5' }),
        folder('var', { mode: 0o2750, uid: 6, gid: 7 }),
        folder('var/lib', { mode: 0o1777, mtime: 9 }),
      ),
      tar(file('var/lib/file'), file('new/file')),
      tar(file('var/lib/.wh.file'), file('var/other'), folder('new', { mode: 0o500, mtime: 3 })),
    );
    const tree = await merged(layers);
    const { mode, uid, gid, mtimeNs, xattrs } = at(tree, 'var');
    assert.deepEqual(
      [mode, uid, gid, mtimeNs, xattrs],
      ['2750', 6, 7, 1_500_000_000n, { 'user.a': '62' }],
    );
    assert.deepEqual(
      [at(tree, 'var/lib').mode, at(tree, 'var/lib').mtimeNs],
      ['1777', 9_000_000_000n],
    );
    assert.equal(at(tree, 'new').mode, '500');
    assert.equal(tree.has('var/lib/file'), false);
  });

  test('46. whiteouts and opaque folders through several layers', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const layers = await bench.stack(
      tar(file('a/1'), file('b/1'), file('c/1/x'), file('d')),
      tar(file('.wh.a'), file('b/.wh..wh..opq'), file('b/2'), file('c/.wh.1'), file('.wh.d')),
      tar(file('a/3'), file('b/3'), file('c/1/y'), hardLink('d', 'b/2')),
    );
    assert.deepEqual(await mergedOutline(layers), {
      ...{ a: 'directory', 'a/3': 'file 0', b: 'directory', 'b/2': 'file 0', 'b/3': 'file 0' },
      ...{ c: 'directory', 'c/1': 'directory', 'c/1/y': 'file 0', d: 'same as b/2' },
    });
  });

  test('aborted in the middle: the reason is told', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const names = Array.from({ length: 2000 }, (_, index) => `f${index}`);
    const [lower] = await bench.stack(tar(...names.map((name) => file(name))));
    const parts = names.map((name) => hardLink(`link-${name}`, name));
    const { directory, layer } = await bench.apply(tar(...parts));
    const abort = new AbortController();
    const rebasing = rebaseLayer(directory, [lower ?? ''], layer.deferred, {
      signal: abort.signal,
    });
    setImmediate(() => abort.abort(new Error('no longer wanted')));
    await assert.rejects(rebasing, /no longer wanted/);
    const made = (await describeTree(directory)).size;
    assert.ok(made > 1 && made < 4000, `${made} entries were made`);
    await mkdir(`${directory}/after`);
  });
});
