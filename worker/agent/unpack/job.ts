import type { Store } from '../../../shared/content/store.ts';
import { readImage } from '../../../shared/content/stored-image.ts';
import { DrayError } from '../../../shared/errors.ts';
import { type ChainID, chainIDs, type Digest } from '../../../shared/image/digest.ts';
import type { Logger } from '../../../shared/logging.ts';
import type { PullRecords } from '../../../shared/pull/records.ts';
import type { FollowUp } from '../../../shared/queue/jobs.ts';
import type { UnpackPayload } from '../../../shared/queue/payloads.ts';
import type { HeldImages } from './held-images.ts';
import type { Hints } from './hints.ts';
import { type ImageServices, unpackImage } from './image.ts';
import { lostBlobOf, refetchBlob } from './lost-blob.ts';
import { NodeProgress } from './progress.ts';
import { PullWatch, unwanted } from './pull-watch.ts';

export interface UnpackServices extends ImageServices {
  node: string;
  store: Store;
  records: PullRecords;
  hints: Hints;
  held: Pick<HeldImages, 'add'>;
  log: Logger;
  /** The node is to hold this image: told before it does, and once it does. */
  used?: (image: { manifest: Digest; name: string; chainID: ChainID | undefined }) => void;
}

/** Makes this node able to run a pull's image. A second run finds the snapshots committed. */
export async function unpackJob(
  payload: UnpackPayload,
  services: UnpackServices,
  options: { signal: AbortSignal },
): Promise<FollowUp[]> {
  const { records, node, store, hints, held, log } = services;
  const { nodes } = records;
  const { pull } = payload;
  const assignment = await nodes.assignment(pull, node);
  if (assignment === undefined) return [];

  const refetch = (digest: Digest, why: string) =>
    refetchBlob(services, pull, digest, why, options);
  const { manifest, config } = await read();
  const { nodeCount } = assignment;
  await using progress = new NodeProgress({ nodes, node, log }, pull, manifest, nodeCount);
  const ready = async (chainID?: ChainID): Promise<FollowUp[]> => {
    await held.add({ manifest: payload.manifest.digest, chainID });
    await progress.ready();
    return [];
  };
  if (config === undefined) return await ready();
  const name = (await records.get(pull))?.reference ?? payload.manifest.digest;
  const chainID = chainIDs(config.rootfs.diff_ids).at(-1);
  const used = () => services.used?.({ manifest: payload.manifest.digest, name, chainID });
  used();
  const ended = new AbortController();
  const signal = AbortSignal.any([options.signal, ended.signal]);
  await using watch = new PullWatch({ ...services, progress, manifest }, pull, assignment, (why) =>
    ended.abort(why),
  );
  const stopListening = hints.onEnded(pull, () => watch.look());
  try {
    const chainID = await unpackImage(
      { ...services, content: store.content, manifest, config },
      { signal, onLayer: progress.layer, advanced: (digest) => hints.advanced(digest), refetch },
    );
    used();
    return await ready(chainID);
  } catch (error) {
    const isUnwanted = ended.signal.aborted && ended.signal.reason === unwanted;
    if (isUnwanted && !options.signal.aborted) return [];
    throw error;
  } finally {
    stopListening();
  }

  async function read(): ReturnType<typeof readImage> {
    try {
      return await readImage(store.content, payload.manifest, options);
    } catch (error) {
      const lost = lostBlobOf(error);
      if (lost === undefined) throw error;
      await refetch(lost, 'is gone, or wrong');
      throw new DrayError('STORE_UNAVAILABLE', `The content store lost ${lost}`, {
        retryable: true,
        cause: error,
        hint: 'It is fetched again.',
        context: { digest: lost },
      });
    }
  }
}

/** The node can't run the image: this pull's fault only, other nodes go on. */
export async function unpackGaveUp(
  payload: UnpackPayload,
  services: Pick<UnpackServices, 'node' | 'records'>,
  error: DrayError,
): Promise<void> {
  await services.records.nodes.fail(payload.pull, services.node, error);
}
