import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DrayError } from '../../shared/errors.ts';
import { type DiffID, digestOf } from '../../shared/image/digest.ts';
import { LayerApplier } from '../../worker/agent/layer/apply.ts';
import { NodeDatabase } from '../../worker/agent/node-database.ts';
import { Snapshots } from '../../worker/agent/snapshot/snapshots.ts';
import { unpackImage } from '../../worker/agent/unpack/image.ts';
import { imageOf, MemoryContent, type TestLayer } from '../worker/agent/unpack/layers.ts';
import type { Answer } from './layer-oracles.ts';
import { layerTar, type Member } from './layer-tar.ts';
import { describeTree, type Tree } from './tree.ts';

/**
 * Unpacks layers as the agent does: in parallel, each without its parents, then rebased and committed.
 * @throws what is no {@link DrayError}
 */
export async function unpackWithDrayage(
  tars: readonly Buffer[],
  options: { applier?: LayerApplier } = {},
): Promise<Answer> {
  await using stack = new AsyncDisposableStack();
  const root = await mkdtemp(join(tmpdir(), 'dray-agent-'));
  stack.defer(() => rm(root, { recursive: true, force: true }));
  const database = stack.use(NodeDatabase.open(root));
  const snapshots = await Snapshots.open({ root, database });
  const applier = options.applier ?? stack.use(new LayerApplier({ threads: 2 }));
  const layers = tars.map(plainLayer);
  const content = new MemoryContent();
  content.commit(...layers);
  let chainID: Awaited<ReturnType<typeof unpackImage>>;
  try {
    chainID = await unpackImage({ snapshots, applier, content, ...imageOf(layers) });
  } catch (error) {
    if (error instanceof DrayError) return { refusal: `${error.code}: ${error.message}` };
    throw error;
  }
  await snapshots.view('tree', chainID);
  const target = join(root, 'tree');
  stack.defer(() => snapshots.unmount(target));
  await snapshots.mount('tree', target);
  return { tree: await describeTree(target) };
}

function plainLayer(tar: Buffer): TestLayer {
  const digest = digestOf(tar);
  return {
    descriptor: {
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest,
      size: tar.length,
    },
    diffID: digest as string as DiffID,
    blob: tar,
  };
}

/** As {@link unpackWithDrayage}, of layers that must be accepted. */
export async function unpacked(stack: readonly (readonly Member[])[]): Promise<Tree> {
  const answer = await unpackWithDrayage(stack.map(layerTar));
  if ('refusal' in answer) throw new Error(answer.refusal);
  return answer.tree;
}

/** The paths of a tree, folders with a slash, symlinks with their targets, links with what they are one with. */
export function outline(tree: Tree): string[] {
  return [...tree]
    .filter(([path]) => path !== '.')
    .map(([path, { type, linkTarget, sameAs }]) => {
      if (sameAs !== undefined) return `${path} = ${sameAs}`;
      if (linkTarget !== undefined) return `${path} -> ${linkTarget}`;
      return type === 'directory' ? `${path}/` : path;
    });
}
