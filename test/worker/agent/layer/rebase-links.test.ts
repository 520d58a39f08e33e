import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { layerTar, member } from '../../../support/layer-tar.ts';
import { outline, unpacked, unpackWithDrayage } from '../../../support/layer-unpack.ts';
import { requireRoot } from '../../../support/requirements.ts';

const { file, folder, symlink, link, whiteout, opaque } = member;

describe('hard links to what lower layers have', () => {
  test('are one file with what they name, with all its attributes', async (t) => {
    if (!requireRoot(t)) return;
    const attributes = { mode: 0o4751, uid: 7, gid: 8, mtimeNs: 1_234_567_890_123_456_789n };
    const xattrs = { 'user.test': Buffer.from([0, 255]) };
    const tree = await unpacked([
      [folder('d', { mode: 0o700 }), file('d/old', { ...attributes, xattrs })],
      [link('new', 'd/old'), link('again', 'new')],
    ]);
    assert.deepEqual(outline(tree), ['again', 'd/', 'd/old = again', 'new = again']);
    const { mode, uid, gid, mtimeNs, xattrs: found } = tree.get('new') ?? {};
    assert.deepEqual({ mode, uid, gid, mtimeNs }, { ...attributes, mode: '4751' });
    assert.deepEqual(found, { 'user.test': '00ff' });
    assert.equal(tree.get('d')?.mode, '700');
  });

  test('keep the file when its old name, or a folder above it, is deleted or replaced', async (t) => {
    if (!requireRoot(t)) return;
    const base = [folder('d'), file('d/hostname')];
    for (const [gone, rest] of [
      [whiteout('d/hostname'), ['d/', 'new']],
      [whiteout('d'), ['new']],
      [opaque('d'), ['d/', 'new']],
      [file('d'), ['d', 'new']],
      // Neither of them is followed: not round and round, nor out of the layer, where there is a hostname.
      [symlink('d', 'd'), ['d -> d', 'new']],
      [symlink('d', '/etc'), ['d -> /etc', 'new']],
    ] as const) {
      for (const entries of [
        [link('new', 'd/hostname'), gone],
        [gone, link('new', 'd/hostname')],
      ]) {
        // A later link does not find what the layer has put a file in the way of.
        if (gone.path === 'd' && entries[0] === gone) continue;
        assert.deepEqual(outline(await unpacked([base, entries])), rest);
      }
    }
  });

  test('keep the file when another link takes its old name, or the place of its folder', async (t) => {
    if (!requireRoot(t)) return;
    const base = [file('a'), folder('d'), file('d/b')];
    const swapped = await unpacked([base, [link('c', 'a'), link('a', 'd/b')]]);
    assert.deepEqual(outline(swapped), ['a', 'c', 'd/', 'd/b = a']);
    assert.equal(swapped.get('c')?.size, 'a'.length);
    const replaced = await unpacked([base, [link('c', 'd/b'), link('d', 'c')]]);
    assert.deepEqual(outline(replaced), ['a', 'c', 'd = c']);
  });

  test('may be to a symlink, which a path of the layer goes through too', async (t) => {
    if (!requireRoot(t)) return;
    const base = [folder('to'), symlink('s', 'to')];
    assert.deepEqual(outline(await unpacked([base, [file('s/x'), link('l', 's')]])), [
      'l -> to',
      's = l',
      'to/',
      'to/x',
    ]);
    assert.deepEqual(outline(await unpacked([base, [link('l', 's'), file('l/x')]])), [
      'l -> to',
      's = l',
      'to/',
      'to/x',
    ]);
  });

  test('to a folder, or to nothing, are refused', async (t) => {
    if (!requireRoot(t)) return;
    for (const target of ['d', 'nothing', 'd/nothing']) {
      const answer = await unpackWithDrayage([[folder('d')], [link('l', target)]].map(layerTar));
      assert.ok('refusal' in answer, 'it was refused');
      assert.match(answer.refusal, /^LAYER_INVALID: Layer 2 of 2 .*hard link/);
    }
  });
});
