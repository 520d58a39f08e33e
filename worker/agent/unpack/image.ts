import { setMaxListeners } from 'node:events';
import type { ContentStore } from '../../../shared/content/store.ts';
import { DrayError, errnoOf, messageOf } from '../../../shared/errors.ts';
import type { ImageConfig } from '../../../shared/image/config.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import { type ChainID, chainIDs, type DiffID, type Digest } from '../../../shared/image/digest.ts';
import type { Manifest } from '../../../shared/image/manifest.ts';
import { bytes } from '../../../shared/telemetry/metrics.ts';
import { traced } from '../../../shared/telemetry/trace.ts';
import { type Applier, type LayerSnapshots, stageLayer } from './layer.ts';
import type { LayerEvent } from './progress.ts';
import { requireRoom } from './room.ts';
import type { StoredContent, StoredOptions } from './stored-layer.ts';

/** What of the node unpacking uses. */
export interface ImageServices {
  snapshots: LayerSnapshots;
  applier: Applier;
}

/** An image whose manifest and config were verified, and where its layers are or will be. */
export interface Image {
  content: StoredContent;
  manifest: Pick<Manifest, 'layers'>;
  config: Pick<ImageConfig, 'rootfs'>;
}

export interface UnpackOptions {
  signal?: AbortSignal;
  /** Called on the way, as often as the applier reports. */
  onLayer?: (event: LayerEvent) => void;
  /** What wakes the reader of a blob that is on its way in; see {@link ContentStore.follow}. */
  advanced?: (digest: Digest) => EventTarget;
  /** See {@link StoredOptions}. */
  refetch?: StoredOptions['refetch'];
}

/** The kinds of layer that are tar archives (image-spec, layer.md and media-types.md; Docker's schema 2). */
const layerTypes = [
  /^application\/vnd\.oci\.image\.layer(\.nondistributable)?\.v1\.tar(\+gzip|\+zstd)?$/,
  /^application\/vnd\.docker\.image\.rootfs(\.foreign)?\.diff\.tar(\.gzip|\.zstd)?$/,
];

/**
 * Makes the committed snapshots of an image's layers, and waits for blobs that are still on their way in.
 * Layers are applied in parallel, in the order in which their bytes come; they are completed and committed in the
 * order of the chain, each after its diffID was verified; one is completed while those below are flushed. Snapshots
 * that are there are kept, and one that another call in this process is making is waited for. When one layer fails
 * the others are aborted: what was committed below stays, whole, and nothing else does. What can't fit on the disk is
 * refused before anything is written.
 * @returns the chainID of the image's file system, or undefined when it has no layers
 * @throws LAYER_INVALID, LAYER_LIMIT, DIFFID_MISMATCH, CONFIG_INVALID, BLOB_UNKNOWN, NO_SPACE, STORE_UNAVAILABLE, or the signal's reason
 */
export async function unpackImage(
  image: ImageServices & Image,
  options: UnpackOptions = {},
): Promise<ChainID | undefined> {
  const { layers } = image.manifest;
  const diffIDs = image.config.rootfs.diff_ids;
  checkLayers(layers, diffIDs);
  const chain = chainIDs(diffIDs);
  const failed = new AbortController();
  const signal = AbortSignal.any([
    failed.signal,
    ...(options.signal === undefined ? [] : [options.signal]),
  ]);
  // Every layer listens, several times.
  setMaxListeners(0, signal);
  using holds = new DisposableStack();

  const { snapshots, content } = image;
  const missing = layers.filter((_, index) => {
    const chainID = chain[index];
    return chainID !== undefined && snapshots.committed(chainID) === undefined;
  });
  await requireRoom(missing, content, { freeBytes: () => snapshots.freeBytes(), signal });

  let below: LayerBelow = { folders: Promise.resolve([]), committed: Promise.resolve() };
  const unpacking = layers.flatMap((descriptor, index) => {
    const [diffID, chainID, parent] = [diffIDs[index], chain[index], chain[index - 1]];
    if (diffID === undefined || chainID === undefined) return [];
    const complete = Promise.withResolvers<readonly string[]>();
    const layer = {
      ...{ descriptor, index, diffID, chainID, below, complete: complete.resolve },
      ...(parent === undefined ? {} : { parent }),
    };
    const attributes = { index, digest: descriptor.digest, size: descriptor.size, chainID };
    const committed = traced('layer', { attributes }, () =>
      unpackLayer(image, layer, { holds, failed }, { ...options, signal }),
    );
    committed.then(
      () => complete.resolve(snapshots.lowerDirectories(chainID)),
      (error: unknown) => {
        failed.abort(error);
        complete.reject(error);
      },
    );
    complete.promise.catch(() => {});
    below = { folders: complete.promise, committed };
    return [committed];
  });
  await Promise.allSettled(unpacking);
  options.signal?.throwIfAborted();
  failed.signal.throwIfAborted();
  return chain.at(-1);
}

interface Layer {
  descriptor: Descriptor;
  index: number;
  diffID: DiffID;
  chainID: ChainID;
  parent?: ChainID;
  below: LayerBelow;
  /** Lets the layer above go on, upon these folders. */
  complete: (folders: readonly string[]) => void;
}

interface LayerBelow {
  /** The folders of its stack, nearest first, once it is complete. */
  folders: Promise<readonly string[]>;
  committed: Promise<void>;
}

async function unpackLayer(
  image: ImageServices & Image,
  layer: Layer,
  { holds, failed }: { holds: DisposableStack; failed: AbortController },
  options: UnpackOptions & { signal: AbortSignal },
): Promise<void> {
  const { snapshots } = image;
  const { descriptor, index, chainID, diffID, parent } = layer;
  const { digest } = descriptor;
  const { signal, onLayer, advanced, refetch } = options;
  const report = (state: LayerEvent['state'], tarBytes: number, existed: boolean) =>
    onLayer?.({ index, digest, state, bytes: tarBytes, existed });
  /** Whether the snapshot is there; if so it can't be removed before the image is whole. */
  const keep = () => {
    if (snapshots.committed(chainID) === undefined) return false;
    holds.use(snapshots.hold(chainID));
    return true;
  };
  if (keep()) {
    bytes.inc({ source: 'node' }, descriptor.size);
    return report('done', 0, true);
  }
  const named = (error: unknown) => naming(error, layer, image.manifest.layers.length);
  let applied = 0;
  try {
    using _claim = await snapshots.claim(chainID, { signal });
    if (keep()) return report('done', 0, false);
    await using staged = await stageLayer(
      image,
      { descriptor, diffID, chainID },
      {
        signal,
        onProgress: (tarBytes) => {
          applied = tarBytes;
          report('unpacking', tarBytes, false);
        },
        ...(advanced === undefined ? {} : { advanced: advanced(digest) }),
        refetch,
      },
    );
    const folders = await layer.below.folders;
    const { committed } = layer.below;
    const { tarBytes } = await staged
      .commit({
        ...(parent === undefined ? {} : { parent }),
        ...{ below: { folders, committed }, signal, onComplete: layer.complete },
      })
      .catch((error: unknown) => {
        if (signal.aborted) throw error;
        report('failed', applied, false);
        // Before its folder goes, which the layers above may be reading.
        failed.abort(named(error));
        throw error;
      });
    bytes.inc({ source: 'store' }, descriptor.size);
    keep();
    report('done', tarBytes, false);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    report('failed', applied, false);
    throw named(error);
  }
}

function checkLayers(layers: readonly Descriptor[], diffIDs: readonly DiffID[]): void {
  if (layers.length !== diffIDs.length) {
    throw new DrayError(
      'CONFIG_INVALID',
      `The image has ${layers.length} layers, but its configuration has ${diffIDs.length} diffIDs`,
      { hint: 'The image is broken. Build and push it again.' },
    );
  }
  layers.forEach(({ mediaType, digest }, index) => {
    if (layerTypes.some((type) => type.test(mediaType))) return;
    throw new DrayError(
      'LAYER_INVALID',
      `Layer ${index + 1} of ${layers.length} has media type "${mediaType}", which is no layer of a file system`,
      {
        hint: 'drayage unpacks tar layers: plain, gzip or zstd.',
        context: { layer: index, digest },
      },
    );
  });
}

/** The error as one that says which layer it was. */
function naming(error: unknown, { index, descriptor }: Layer, count: number): DrayError {
  const { digest } = descriptor;
  const known = error instanceof DrayError ? error : fromSystem(error);
  return new DrayError(known.code, `Layer ${index + 1} of ${count} (${digest}): ${known.message}`, {
    cause: error,
    retryable: known.retryable,
    ...(known.hint === undefined ? {} : { hint: known.hint }),
    context: { ...known.context, layer: index, digest },
  });
}

function fromSystem(error: unknown): DrayError {
  const errno = errnoOf(error);
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new DrayError('NO_SPACE', messageOf(error), {
      retryable: true,
      hint: 'Free space on the disk of the agent, then pull again.',
    });
  }
  return new DrayError('INTERNAL', messageOf(error));
}
