import type { ContentStore } from '../../../shared/content/store.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import type { ChainID, DiffID } from '../../../shared/image/digest.ts';
import type { AppliedLayer } from '../layer/apply.ts';
import { rebaseLayer } from '../layer/rebase.ts';
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
      signal?: AbortSignal;
      /** Called with the bytes of the tar so far. */
      onProgress?: (tarBytes: number) => void;
    },
  ): Promise<AppliedLayer>;
}

/** What of a content store unpacking uses. */
export type LayerContent = Pick<ContentStore, 'info' | 'read' | 'follow' | 'pathOf'>;

export interface StageOptions {
  signal: AbortSignal;
  onProgress: (tarBytes: number) => void;
  advanced?: EventTarget;
}

/** A layer that was applied and verified; disposing it uncommitted removes it. */
export interface StagedLayer extends AsyncDisposable {
  tarBytes: number;
  /** Completes it with what the stack below tells, and publishes it. */
  commit(options: { parent?: ChainID; signal: AbortSignal }): Promise<'committed' | 'exists'>;
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
  services: { snapshots: Snapshots; applier: Applier; content: LayerContent },
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
  { signal }: StageOptions,
): Promise<LayerSource | undefined> {
  if ((await content.info(digest, { signal })) === undefined) return undefined;
  const file = content.pathOf?.(digest);
  return file === undefined ? content.read(digest, { signal }) : { file };
}

async function applyAndVerify(
  { snapshots, applier }: { snapshots: Snapshots; applier: Applier },
  layer: { descriptor: Descriptor; diffID: DiffID; chainID: ChainID },
  source: LayerSource,
  { signal, onProgress }: StageOptions,
): Promise<StagedLayer> {
  const { descriptor, diffID, chainID } = layer;
  await using stack = new AsyncDisposableStack();
  const staging: Staging = stack.use(await snapshots.stage(chainID, { signal }));
  const { directory } = staging;
  const applied = await applier.apply(source, directory, {
    compressedSize: descriptor.size,
    signal,
    onProgress,
  });
  if (applied.diffID !== diffID) {
    throw new DrayError(
      'DIFFID_MISMATCH',
      `the configuration says diffID ${diffID}, found ${applied.diffID}`,
      {
        hint: 'The image is broken: its configuration belongs to other layers. Build and push it again.',
        context: { expected: diffID, found: applied.diffID },
      },
    );
  }
  const owned = stack.move();
  return {
    tarBytes: applied.tarBytes,
    commit: ({ parent, signal }) =>
      staging.commit({
        ...(parent === undefined ? {} : { parent }),
        diffID,
        bytes: applied.diskBytes,
        entries: applied.entries,
        rebase: (lowerDirs) => rebaseLayer(directory, lowerDirs, applied.deferred, { signal }),
        signal,
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
