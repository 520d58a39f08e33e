import assert from 'node:assert/strict';
import type { LayerApplier } from '../../worker/agent/layer/apply.ts';
import type { TestContainerd } from './containerd.ts';
import { type Answer, containerdAnswer, umociAnswer, withLayout } from './layer-oracles.ts';
import { newestTime } from './layer-stack.ts';
import { layerTar, type Member } from './layer-tar.ts';
import { unpackWithDrayage } from './layer-unpack.ts';
import { compareTrees, type Tree, type TreeEntry } from './tree.ts';

/**
 * The oracle is containerd's own apply to one plain folder, one layer after the other (its native snapshotter).
 * Where it refuses, the answer is that of its overlayfs snapshotter, which applies each layer to a folder
 * of its own, and takes what stands in the place of a lower layer's file.
 */
export async function compareStack(
  stack: Member[][],
  containerd: TestContainerd,
  applier: LayerApplier,
): Promise<'same' | 'refused'> {
  const tars = stack.map(layerTar);
  const ours = await unpackWithDrayage(tars, { applier });
  return await withLayout(tars, async (layout) => {
    const sequential = await containerdAnswer(containerd, layout, 'native');
    const umoci = await umociAnswer(layout);
    const reference =
      'tree' in sequential ? sequential : await containerdAnswer(containerd, layout, 'overlayfs');
    if ('refusal' in reference) {
      const tree = 'tree' in ours ? [...ours.tree.keys()].join(' ') : '';
      assert.ok(
        'refusal' in ours,
        `containerd refused it (${reference.refusal}), drayage: ${tree}`,
      );
      assert.match(ours.refusal, /^LAYER_INVALID/);
      return 'refused';
    }
    assert.ok(
      'tree' in ours,
      `drayage refused what containerd takes: ${'refusal' in ours && ours.refusal}`,
    );
    assert.deepEqual(differences(ours.tree, reference.tree, umoci), []);
    return 'same';
  });
}

/**
 * umoci is asked where containerd's native snapshotter forgets: folders' times, when something is made in
 * them later; hard links to what is no file, when it copies the layer below; and where it remembers too much:
 * a folder keeps extended attributes that a lower layer gave it, though a higher one lists it without.
 * What neither knows, no layer says.
 */
function differences(ours: Tree, containerd: Tree, umoci: Answer): string[] {
  const second = 'tree' in umoci ? umoci.tree : undefined;
  // No tool takes the root's from a layer.
  const undecided = new Set(['.\0mtimeNs']);
  const expected: Tree = new Map();
  for (const [path, entry] of containerd) {
    const other = second?.get(path);
    const leave = (attribute: keyof TreeEntry) => undecided.add(`${path}\0${attribute}`);
    const known = { ...entry };
    expected.set(path, known);
    if (entry.type === 'directory') {
      const times = [entry.mtimeNs, other?.mtimeNs];
      const mtimeNs = times.find((time) => time !== undefined && time <= newestTime);
      if (mtimeNs === undefined) leave('mtimeNs');
      else known.mtimeNs = mtimeNs;
      if (other === undefined) leave('xattrs');
      else known.xattrs = withoutTrusted(other.xattrs);
    } else if (entry.type !== 'file') {
      if (other === undefined) leave('sameAs');
      else if (other.sameAs !== undefined) known.sameAs = other.sameAs;
    }
  }
  return compareTrees(
    { name: 'drayage', tree: ours },
    { name: 'the oracle', tree: expected },
    { skip: (path, attribute) => undecided.has(`${path}\0${attribute}`) },
  );
}

/** containerd takes none of the administrator's own attributes from a layer, umoci does. */
function withoutTrusted(xattrs: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(xattrs).filter(([name]) => !name.startsWith('trusted.')),
  );
}
