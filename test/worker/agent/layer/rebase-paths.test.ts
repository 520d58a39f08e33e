import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { layerTar, member } from '../../../support/layer-tar.ts';
import { outline, unpacked, unpackWithDrayage } from '../../../support/layer-unpack.ts';
import { requireRoot } from '../../../support/requirements.ts';

const { file, folder, symlink, link, whiteout, opaque } = member;
const mergedUsr = [folder('usr'), folder('usr/lib', { mode: 0o711 }), symlink('lib', 'usr/lib')];

describe('paths through a symlink of a lower layer', () => {
  test('lead where it does: files, folders, whiteouts and opaque markers', async (t) => {
    if (!requireRoot(t)) return;
    const base = [...mergedUsr, file('usr/lib/old'), folder('usr/lib/d'), file('usr/lib/d/old')];
    const tree = await unpacked([
      base,
      [file('lib/new'), folder('lib/sub'), whiteout('lib/old'), opaque('lib/d'), file('lib/d/new')],
    ]);
    assert.deepEqual(outline(tree), [
      'lib -> usr/lib',
      'usr/',
      'usr/lib/',
      'usr/lib/d/',
      'usr/lib/d/new',
      'usr/lib/new',
      'usr/lib/sub/',
    ]);
    assert.equal(tree.get('usr/lib')?.mode, '711');
  });

  test('a folder with an entry takes the place of the symlink', async (t) => {
    if (!requireRoot(t)) return;
    const tree = await unpacked([mergedUsr, [folder('lib'), file('lib/new')]]);
    assert.deepEqual(outline(tree), ['lib/', 'lib/new', 'usr/', 'usr/lib/']);
  });

  test('what was written through it before its folder, its file or its deletion came stays where it led', async (t) => {
    if (!requireRoot(t)) return;
    for (const [last, name] of [
      [folder('lib'), 'lib/'],
      [file('lib'), 'lib'],
      [whiteout('lib'), undefined],
    ] as const) {
      const tree = await unpacked([mergedUsr, [file('lib/new'), last]]);
      const expected = ['usr/', 'usr/lib/', 'usr/lib/new'];
      assert.deepEqual(outline(tree), name === undefined ? expected : [name, ...expected]);
    }
  });

  test('of two entries for one place the later stays, whichever goes through the symlink', async (t) => {
    if (!requireRoot(t)) return;
    const direct = file('usr/lib/x', { content: 'direct' });
    const through = file('lib/x', { content: 'through it!' });
    const sizeOf = async (...entries: (typeof direct)[]) =>
      (await unpacked([mergedUsr, entries])).get('usr/lib/x')?.size;
    assert.equal(await sizeOf(direct, through), 'through it!'.length);
    assert.equal(await sizeOf(through, direct), 'direct'.length);
  });

  test('a deletion through it may hit the symlink itself', async (t) => {
    if (!requireRoot(t)) return;
    const tree = await unpacked([[symlink('all', '.'), file('a')], [whiteout('all/all')]]);
    assert.deepEqual(outline(tree), ['a']);
  });

  test('what leads through a file by its name alone is accepted where the file gave way', async (t) => {
    if (!requireRoot(t)) return;
    const tree = await unpacked([
      [symlink('all', '.')],
      [file('c'), folder('all/c'), file('c/inside')],
    ]);
    assert.deepEqual(outline(tree), ['all -> .', 'c/', 'c/inside']);
  });

  test('what leads through a file whatever is below is refused', async (t) => {
    if (!requireRoot(t)) return;
    for (const stack of [
      [[file('f'), file('f/inside')]],
      [mergedUsr, [file('lib/f'), file('usr/lib/f/inside')]],
      [[file('f')], [link('g', 'f'), file('g/inside')]],
    ]) {
      const answer = await unpackWithDrayage(stack.map(layerTar));
      assert.ok('refusal' in answer, 'it was refused');
      assert.match(answer.refusal, /^LAYER_INVALID: .*no folder/);
    }
  });
});
