import { DrayError } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import {
  type ChainID,
  type DiffID,
  type DigestAlgorithm,
  splitDigest,
} from '../../../shared/image/digest.ts';
import type { AppliedLayer } from '../layer/apply.ts';
import type { LayerSource } from '../layer/lane.ts';
import { dependsOnParents } from '../layer/limits.ts';
import { leadsThroughLower, rebaseLayer } from '../layer/rebase.ts';
import { emptyFolder } from '../snapshot/folders.ts';
import type { Snapshots } from '../snapshot/snapshots.ts';
import type { StackBelow, Staging } from '../snapshot/staging.ts';
import {
  applyStored,
  mayBeBrokenBytes,
  type StoredContent,
  type StoredOptions,
  storedSource,
} from './stored-layer.ts';

/** What turns a layer's bytes into files, some layers at a time: each call waits for its turn. */
export interface Applier {
  apply(
    source: LayerSource,
    target: string,
    options: {
      /** Of the diffID. */
      algorithm?: DigestAlgorithm;
      /** Layers below, nearest first, whose symlinks are to be followed. */
      lowerDirs?: readonly string[];
      signal?: AbortSignal;
      /** Called with the bytes of the tar so far. */
      onProgress?: (tarBytes: number) => void;
    },
  ): Promise<AppliedLayer>;
}

/** What of the node's snapshots unpacking uses. */
export type LayerSnapshots = Pick<
  Snapshots,
  'committed' | 'claim' | 'hold' | 'stage' | 'lowerDirectories' | 'freeBytes'
>;

export interface StageOptions {
  signal: AbortSignal;
  onProgress: (tarBytes: number) => void;
  advanced?: EventTarget;
  /** See {@link applyStored}. */
  refetch?: StoredOptions['refetch'];
}

/** A layer that was applied and verified; disposing it uncommitted removes it. */
export interface StagedLayer extends AsyncDisposable {
  /**
   * Completes it with what the stack below tells, and publishes it; the stack may not be removed meanwhile.
   * Where its paths go through symlinks of the layers below, it is applied once more, upon them.
   * @returns the bytes of its tar
   */
  commit(options: {
    parent?: ChainID;
    below: StackBelow;
    signal: AbortSignal;
    /** See {@link StagingCommit}. */
    onComplete: (folders: readonly string[]) => void;
  }): Promise<{ tarBytes: number }>;
}

/**
 * Applies a layer into a staged snapshot, from its blob or while that comes in, and verifies the diffID.
 * Bytes of an ingest are not verified: when those were broken, the layer is applied once more from the
 * committed blob.
 * @throws LAYER_INVALID, LAYER_LIMIT, DIFFID_MISMATCH, BLOB_UNKNOWN, STORE_UNAVAILABLE
 */
export async function stageLayer(
  services: { snapshots: LayerSnapshots; applier: Applier; content: StoredContent },
  layer: { descriptor: Descriptor; diffID: DiffID; chainID: ChainID },
  options: StageOptions,
): Promise<StagedLayer> {
  const { content } = services;
  const { descriptor } = layer;
  const apply = (source: LayerSource) => applyAndVerify(services, layer, source, options);
  if ((await storedSource(content, descriptor, options)) === undefined) {
    try {
      // A layer whose first bytes have not come asks for no turn: it would only hold it.
      const first =
        content.followFile?.(descriptor, options) ?? content.follow(descriptor, options);
      for await (const _ of first) break;
      if ((await storedSource(content, descriptor, options)) === undefined) {
        const ranges = content.followFile?.(descriptor, options);
        return await apply(ranges === undefined ? content.follow(descriptor, options) : { ranges });
      }
    } catch (error) {
      if (options.signal.aborted || !mayBeBrokenBytes(error)) throw error;
    }
  }
  return await applyStored(content, descriptor, apply, options);
}

async function applyAndVerify(
  services: { snapshots: LayerSnapshots; applier: Applier; content: StoredContent },
  { descriptor, diffID, chainID }: { descriptor: Descriptor; diffID: DiffID; chainID: ChainID },
  source: LayerSource,
  { signal, onProgress, refetch }: StageOptions,
): Promise<StagedLayer> {
  const { snapshots, applier, content } = services;
  await using stack = new AsyncDisposableStack();
  const staging: Staging = stack.use(await snapshots.stage(chainID, { signal }));
  const { directory } = staging;
  const apply = async (bytes: LayerSource, options: Parameters<Applier['apply']>[2]) => {
    const { algorithm } = splitDigest(diffID);
    const applied = await applier.apply(bytes, directory, { ...options, algorithm });
    if (applied.diffID === diffID) return applied;
    throw wrongDiffID(diffID, applied.diffID);
  };
  /** What it comes to without the layers below, or why that can't be said. */
  const alone = await apply(source, { signal, onProgress }).catch((error: unknown) => {
    if (dependsOnParents(error)) return error as DrayError;
    throw error;
  });
  const owned = stack.move();

  const applyUpon = async (
    lowerDirs: readonly string[],
    signal: AbortSignal,
  ): Promise<AppliedLayer> => {
    if (alone instanceof DrayError) {
      if (lowerDirs.length === 0) throw alone;
    } else if (!(await leadsThroughLower(lowerDirs, alone.deferred, { signal }))) {
      return alone;
    }
    const again = async (source: LayerSource) => {
      await emptyFolder(directory);
      return await apply(source, { lowerDirs, signal });
    };
    return await applyStored(content, descriptor, again, { signal, refetch });
  };
  return {
    commit: async ({ parent, below, signal, onComplete }) => {
      const { deferred, diskBytes, entries, tarBytes } = await applyUpon(below.folders, signal);
      await staging.commit({
        ...(parent === undefined ? {} : { parent }),
        below,
        diffID,
        bytes: diskBytes,
        entries,
        rebase: (lowerDirs) => rebaseLayer(directory, lowerDirs, deferred, { signal }),
        onComplete,
        signal,
      });
      return { tarBytes };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function wrongDiffID(expected: DiffID, found: DiffID): DrayError {
  return new DrayError(
    'DIFFID_MISMATCH',
    `the configuration says diffID ${expected}, found ${found}`,
    {
      hint: 'The image is broken: its configuration belongs to other layers. Build and push it again.',
      context: { expected, found },
    },
  );
}
