import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { DrayError } from '../../../../shared/errors.ts';
import { LayerApplier } from '../../../../worker/agent/layer/apply.ts';
import { applyToFolder } from '../../../../worker/agent/layer/apply-to-folder.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { temporaryFolder } from '../snapshot/agent-root.ts';
import { layerOf } from '../unpack/layers.ts';

describe('applyToFolder', () => {
  const applier = new LayerApplier({ threads: 1 });
  after(() => applier[Symbol.asyncDispose]());
  const bytesOf = async function* (blob: Buffer) {
    yield blob;
  };
  const codeOf = async (work: Promise<unknown>) =>
    await work.then(
      () => 'applied',
      (error: unknown) => (error instanceof DrayError ? error.code : String(error)),
    );

  test('makes a new folder, or fills an empty one', async (t) => {
    if (!requireRoot(t)) return;
    await using root = await temporaryFolder();
    const { blob, diffID } = await layerOf({ 'etc/': null, 'etc/file': 'content' });
    await mkdir(join(root.path, 'empty'));
    for (const name of ['new', 'empty']) {
      const target = join(root.path, name);
      assert.equal((await applyToFolder(applier, bytesOf(blob), target)).diffID, diffID);
      assert.equal(await readFile(join(target, 'etc/file'), 'utf8'), 'content');
    }
  });

  test('a layer that is broken leaves the folder as it was', async (t) => {
    if (!requireRoot(t)) return;
    await using root = await temporaryFolder();
    const big = Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`${i}`, `${i}`]));
    const { blob } = await layerOf(big);
    const cut = () => bytesOf(blob.subarray(0, -30));
    await mkdir(join(root.path, 'empty'));
    assert.equal(
      await codeOf(applyToFolder(applier, cut(), join(root.path, 'new'))),
      'LAYER_INVALID',
    );
    assert.equal(
      await codeOf(applyToFolder(applier, cut(), join(root.path, 'empty'))),
      'LAYER_INVALID',
    );
    assert.deepEqual(await readdir(root.path), ['empty']);
    assert.deepEqual(await readdir(join(root.path, 'empty')), []);
  });

  test('a folder that has something in it, or no parent, is not touched', async (t) => {
    if (!requireRoot(t)) return;
    await using root = await temporaryFolder();
    const { blob } = await layerOf({ file: 'of the layer' });
    await writeFile(join(root.path, 'file'), 'mine');
    for (const target of [root.path, join(root.path, 'file'), join(root.path, 'no', 'parent')]) {
      assert.equal(await codeOf(applyToFolder(applier, bytesOf(blob), target)), 'USAGE', target);
    }
    assert.equal(await readFile(join(root.path, 'file'), 'utf8'), 'mine');
    assert.deepEqual(await readdir(root.path), ['file']);
  });
});
