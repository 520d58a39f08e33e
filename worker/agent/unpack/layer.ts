import type { ContentStore } from '../../../shared/content/store.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import type { ChainID, DiffID } from '../../../shared/image/digest.ts';
import type { AppliedLayer } from '../layer/apply.ts';
import { dependsOnParents } from '../layer/limits.ts';
import { leadsThroughLower, rebaseLayer } from '../layer/rebase.ts';
import { emptyFolder } from '../snapshot/folders.ts';
import type { Snapshots } from '../snapshot/snapshots.ts';
import type { Staging } from '../snapshot/staging.ts';

/** A layer's bytes as stored: gzip, zstd or plain. */
export type LayerSource = AsyncIterable<Uint8Array> | { file: string };

/** What turns a layer's bytes into files, some layers at a time: each call waits for its turn. */
export interface Applier {
  apply(
    source: LayerSource,
    target: string,
    options: {
      /** The blob's size, in bytes. */
      compressedSize?: number;
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
  'committed' | 'claim' | 'hold' | 'stage' | 'lowerDirectories'
>;

/** What of a content store unpacking uses. */
export type LayerContent = Pick<ContentStore, 'info' | 'read' | 'follow' | 'pathOf'>;

export interface StageOptions {
  signal: AbortSignal;
  onProgress: (tarBytes: number) => void;
  advanced?: EventTarget;
}

/** A layer that was applied and verified; disposing it uncommitted removes it. */
export interface StagedLayer extends AsyncDisposable {
  /**
   * Completes it with what the stack below tells, and publishes it; the stack may not be removed meanwhile.
   * Where its paths go through symlinks of the layers below, it is applied once more, upon them.
   * @returns the bytes of its tar
   */
  commit(options: { parent?: ChainID; signal: AbortSignal }): Promise<{ tarBytes: number }>;
}

/** What unverified bytes that were broken look like. */
const brokenBytes = new Set(['LAYER_INVALID', 'LAYER_LIMIT', 'DIFFID_MISMATCH']);

/**
 * Applies a layer into a staged snapshot, from its blob or while that comes in, and verifies the diffID.
 * Bytes of an ingest are not verified: when those were broken, the layer is applied once more from the
 * committed blob.
 * @throws LAYER_INVALID, LAYER_LIMIT, DIFFID_MISMATCH
 */
export async function stageLayer(
  services: { snapshots: LayerSnapshots; applier: Applier; content: LayerContent },
  layer: { descriptor: Descriptor; diffID: DiffID; chainID: ChainID },
  options: StageOptions,
): Promise<StagedLayer> {
  const { content } = services;
  const { descriptor } = layer;
  const committed = await committedSource(content, descriptor, options);
  if (committed !== undefined) return applyAndVerify(services, layer, committed, options);

  // A layer whose first bytes have not come asks for no turn: it would only hold it.
  for await (const _ of content.follow(descriptor, options)) break;
  const landed = await committedSource(content, descriptor, options);
  if (landed !== undefined) return applyAndVerify(services, layer, landed, options);
  try {
    return await applyAndVerify(services, layer, content.follow(descriptor, options), options);
  } catch (error) {
    const mayBeBroken = error instanceof DrayError && brokenBytes.has(error.code);
    if (options.signal.aborted || !mayBeBroken) throw error;
  }
  // From its end on, a blob has no bytes: this ends when it is committed.
  for await (const _ of content.follow(descriptor, { ...options, offset: descriptor.size }));
  const source =
    (await committedSource(content, descriptor, options)) ??
    content.read(descriptor.digest, options);
  return applyAndVerify(services, layer, source, options);
}

async function committedSource(
  content: LayerContent,
  { digest }: Descriptor,
  { signal }: { signal: AbortSignal },
): Promise<LayerSource | undefined> {
  if ((await content.info(digest, { signal })) === undefined) return undefined;
  const file = content.pathOf?.(digest);
  return file === undefined ? content.read(digest, { signal }) : { file };
}

async function applyAndVerify(
  services: { snapshots: LayerSnapshots; applier: Applier; content: LayerContent },
  { descriptor, diffID, chainID }: { descriptor: Descriptor; diffID: DiffID; chainID: ChainID },
  source: LayerSource,
  { signal, onProgress }: StageOptions,
): Promise<StagedLayer> {
  const { snapshots, applier, content } = services;
  await using stack = new AsyncDisposableStack();
  const staging: Staging = stack.use(await snapshots.stage(chainID, { signal }));
  const { directory } = staging;
  const apply = async (bytes: LayerSource, options: Parameters<Applier['apply']>[2]) => {
    const compressedSize = descriptor.size;
    const applied = await applier.apply(bytes, directory, { ...options, compressedSize });
    if (applied.diffID === diffID) return applied;
    throw wrongDiffID(diffID, applied.diffID);
  };
  /** What it comes to without the layers below, or why that can't be said. */
  const alone = await apply(source, { signal, onProgress }).catch((error: unknown) => {
    if (dependsOnParents(error)) return error as DrayError;
    throw error;
  });
  const owned = stack.move();

  const applyUpon = async (lowerDirs: string[], signal: AbortSignal): Promise<AppliedLayer> => {
    if (alone instanceof DrayError) {
      if (lowerDirs.length === 0) throw alone;
    } else if (!(await leadsThroughLower(lowerDirs, alone.deferred, { signal }))) {
      return alone;
    }
    await emptyFolder(directory);
    const again =
      (await committedSource(content, descriptor, { signal })) ??
      content.follow(descriptor, { signal });
    return apply(again, { lowerDirs, signal });
  };
  return {
    commit: async ({ parent, signal }) => {
      const below = parent === undefined ? [] : snapshots.lowerDirectories(parent);
      const { deferred, diskBytes, entries, tarBytes } = await applyUpon(below, signal);
      await staging.commit({
        ...(parent === undefined ? {} : { parent }),
        diffID,
        bytes: diskBytes,
        entries,
        rebase: (lowerDirs) => rebaseLayer(directory, lowerDirs, deferred, { signal }),
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
