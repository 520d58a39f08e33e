import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { getXattr, listXattrs, opaqueXattr } from '../../../../worker/agent/linux/xattr.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { device, file, folder, hardLink, symlink, tar } from '../../../support/tar.ts';
import { at, Bench, mergedOutline, openApplier, outline } from './applying.ts';

describe('whiteouts of a layer', () => {
  const applier = openApplier();
  after(() => applier[Symbol.asyncDispose]());

  for (const name of ['.wh.', '.wh..', '.wh...', 'a/.wh.', 'a/.wh..', 'a/.wh...']) {
    test(`46. ${name}: LAYER_INVALID`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      await bench.refuses(tar(folder('a'), file(name)), 'LAYER_INVALID', { message: /whiteout/ });
    });
  }

  test('47. .wh.x under a symlinked parent: handled inside the root', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { canary } = bench;
    const { tree } = await bench.apply(
      tar(
        ...[symlink('out', canary), file('out/.wh.file')],
        ...[symlink('up', '../../canary'), file('up/.wh.secret')],
        ...[folder('real'), symlink('in', '/real'), file('in/.wh.gone')],
      ),
    );
    assert.equal(outline(tree)[`${canary.slice(1)}/file`], 'whiteout');
    assert.equal(outline(tree)['canary/secret'], 'whiteout');
    assert.equal(outline(tree)['real/gone'], 'whiteout');
    assert.equal(at(tree, 'out').linkTarget, canary);
  });

  test('47. .wh.x under a parent that is a symlink in a layer below: handled inside the root', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const layers = await bench.stack(
      tar(symlink('out', bench.canary), symlink('lib', 'usr/lib'), file('usr/lib/gone')),
      tar(file('out/.wh.file'), file('lib/.wh.gone')),
    );
    const shown = await mergedOutline(layers);
    assert.deepEqual([shown.lib, shown.out], ['symlink usr/lib', `symlink ${bench.canary}`]);
    assert.equal('usr/lib/gone' in shown, false);
  });

  test('48. an opaque marker on a symlink: handled inside the root, and no xattr is set through it', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { tree, directory } = await bench.apply(
      tar(
        ...[symlink('out', `${bench.canary}/folder`), file('out/.wh..wh..opq')],
        ...[symlink('up', '../../canary/folder'), file('up/.wh..wh..opq')],
      ),
    );
    assert.equal(at(tree, 'out').type, 'symlink');
    for (const path of [`${bench.canary.slice(1)}/folder`, 'canary/folder']) {
      assert.equal(getXattr(`${directory}/${path}`, opaqueXattr)?.toString(), 'y');
    }
    assert.deepEqual(listXattrs(`${bench.canary}/folder`), []);
  });

  test('48. an opaque marker where the layer below has a symlink: no xattr is set through it', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const layers = await bench.stack(
      tar(symlink('out', `${bench.canary}/folder`), symlink('lib', 'real'), file('real/hidden')),
      tar(file('out/.wh..wh..opq'), file('lib/.wh..wh..opq'), file('lib/new')),
    );
    const shown = await mergedOutline(layers);
    assert.deepEqual([shown.lib, shown['real/new']], ['symlink real', 'file 0']);
    assert.equal('real/hidden' in shown, false);
    assert.deepEqual(listXattrs(`${bench.canary}/folder`), []);
  });

  const siblings: [what: string, layer: Buffer[]][] = [
    ['before', [file('.wh.file'), file('file', 'new'), file('.wh.dir'), file('dir/new')]],
    ['after', [file('file', 'new'), file('.wh.file'), file('dir/new'), file('.wh.dir')]],
    [
      'before and after',
      [file('.wh.file'), file('file', 'new'), file('.wh.file')].concat(
        ...[file('.wh.dir'), folder('dir'), file('.wh.dir'), file('dir/new'), file('.wh.dir')],
      ),
    ],
  ];
  for (const [what, layer] of siblings) {
    test(`49. a whiteout ${what} a sibling of the same name in the same layer: it hides lower layers only`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const layers = await bench.stack(
        tar(file('file', 'lower'), file('dir/old'), folder('dir/deep'), file('kept')),
        tar(...layer),
      );
      assert.deepEqual(await mergedOutline(layers), {
        ...{ file: 'file 3', dir: 'directory', 'dir/new': 'file 0', kept: 'file 0' },
      });
    });
  }

  const opaque: [what: string, layer: Buffer[]][] = [
    ['before', [folder('dir'), file('dir/.wh..wh..opq'), file('dir/new')]],
    ['after', [folder('dir'), file('dir/new'), file('dir/.wh..wh..opq')]],
    ['without an entry for the folder', [file('dir/.wh..wh..opq'), file('dir/new')]],
  ];
  for (const [what, layer] of opaque) {
    test(`49. an opaque marker ${what}: it hides lower layers only`, async (t) => {
      if (!requireRoot(t)) return;
      await using bench = await Bench.open(applier);
      const layers = await bench.stack(tar(file('dir/old'), file('dir/deep/old')), tar(...layer));
      assert.deepEqual(await mergedOutline(layers), { dir: 'directory', 'dir/new': 'file 0' });
    });
  }

  test('49. an opaque marker in the root: it hides lower layers only', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const layers = await bench.stack(
      tar(file('old'), file('dir/old'), symlink('link', 'old'), file('target')),
      tar(file('dir/new'), file('.wh..wh..opq'), file('new'), folder('link'), file('link/in')),
    );
    assert.deepEqual(await mergedOutline(layers), {
      ...{ dir: 'directory', 'dir/new': 'file 0', new: 'file 0' },
      ...{ link: 'directory', 'link/in': 'file 0' },
    });
  });

  test('50. a whiteout of what is not there: accepted', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const layers = await bench.stack(
      tar(file('.wh.nothing'), file('deep/.wh.nothing')),
      tar(file('.wh.nothing'), file('deep/.wh.nothing'), file('new/.wh.nothing')),
    );
    assert.deepEqual(await mergedOutline(layers), { deep: 'directory', new: 'directory' });
  });

  test('50. a whiteout that is a folder, a link or has a body: by its name alone', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const layers = await bench.stack(
      tar(file('a'), file('b/x'), file('c'), file('d')),
      tar(
        ...[folder('.wh.a'), file('.wh.b', 'a body'), symlink('.wh.c', bench.canary)],
        hardLink('.wh.d', `${bench.canary}/secret`),
      ),
    );
    assert.deepEqual(await mergedOutline(layers), {});
  });

  test('51. a char device 0:0 in the archive (a forged whiteout): LAYER_INVALID', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    await bench.refuses(tar(device('char', 'forged', [0, 0])), 'LAYER_INVALID', {
      message: /forged whiteout/,
    });
    const { tree } = await bench.apply(tar(device('block', 'block', [0, 0])));
    assert.deepEqual(outline(tree), { block: 'block 0:0' });
  });
});
