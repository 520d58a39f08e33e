import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { member } from '../../../support/layer-tar.ts';
import { outline, unpacked } from '../../../support/layer-unpack.ts';
import { requireRoot } from '../../../support/requirements.ts';

const { file, folder, whiteout, opaque, link } = member;

describe('folders that a layer does not list', () => {
  test('go when they are deleted after something in them was', async (t) => {
    if (!requireRoot(t)) return;
    const base = [folder('d'), folder('d/e'), file('d/e/x'), file('d/y')];
    const goneWhole = await unpacked([base, [whiteout('d/e/x'), whiteout('d')]]);
    assert.deepEqual(outline(goneWhole), []);
    const emptied = await unpacked([base, [whiteout('d/e/x'), opaque('d')]]);
    assert.deepEqual(outline(emptied), ['d/']);
    const kept = await unpacked([base, [file('d/e/new'), whiteout('d/e/x'), whiteout('d')]]);
    assert.deepEqual(outline(kept), ['d/', 'd/e/', 'd/e/new']);
  });

  test('take the group of a folder with setgid that they are made in, of this layer or below', async (t) => {
    if (!requireRoot(t)) return;
    const shared = folder('d', { mode: 0o2775, gid: 50 });
    for (const stack of [
      [[shared, file('d/e/x')]],
      [[shared], [file('d/e/x')]],
      [[shared], [file('d/e/x'), folder('d')]],
      [
        [shared, folder('d/e')],
        [whiteout('d/e'), file('d/e/x')],
      ],
    ]) {
      const { gid, uid, mode } = (await unpacked(stack)).get('d/e') ?? {};
      assert.deepEqual({ gid, uid, mode }, { gid: 50, uid: 0, mode: '755' });
    }
  });

  test('are new where the root of the layer is opaque, and links keep what it hides', async (t) => {
    if (!requireRoot(t)) return;
    const base = [folder('d', { mode: 0o700 }), file('d/x'), file('a')];
    const tree = await unpacked([base, [opaque(''), file('d/y'), link('l', 'a')]]);
    assert.deepEqual(outline(tree), ['d/', 'd/y', 'l']);
    assert.equal(tree.get('d')?.mode, '755');
  });
});

test("attributes that are the administrator's are not taken from a layer", async (t) => {
  if (!requireRoot(t)) return;
  const xattrs = { 'trusted.test': Buffer.from('1'), 'user.test': Buffer.from('2') };
  const tree = await unpacked([[file('a', { xattrs }), folder('d', { xattrs })]]);
  assert.deepEqual(tree.get('a')?.xattrs, { 'user.test': '32' });
  assert.deepEqual(tree.get('d')?.xattrs, { 'user.test': '32' });
});
