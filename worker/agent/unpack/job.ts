import type { Store } from '../../../shared/content/store.ts';
import { DrayError, encodeError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/logging.ts';
import type { PullRecords } from '../../../shared/pull/records.ts';
import { isFinished } from '../../../shared/pull/status.ts';
import type { FollowUp } from '../../../shared/queue/jobs.ts';
import type { UnpackPayload } from '../../../shared/queue/payloads.ts';
import type { Hints } from './hints.ts';
import { type ImageServices, unpackImage } from './image.ts';
import { NodeProgress } from './progress.ts';
import { readImage } from './stored-image.ts';

export interface UnpackServices extends ImageServices {
  node: string;
  store: Store;
  records: PullRecords;
  hints: Hints;
  log: Logger;
}

/** Milliseconds between two looks at whether the pull still wants this, and whether its blobs are still there. */
const lookInterval = 5_000;

/** Makes this node able to run a pull's image. A second run finds the snapshots committed. */
export async function unpackJob(
  payload: UnpackPayload,
  services: UnpackServices,
  options: { signal: AbortSignal },
): Promise<FollowUp[]> {
  const { records, node, store, hints, log } = services;
  const { pull } = payload;
  const state = await records.state(pull);
  if (state === undefined || isFinished(state)) return [];
  const known = await records.node(pull, node);
  if (known === undefined || known.state === 'ready' || known.state === 'failed') return [];

  const { manifest, config } = await readImage(store.content, payload.manifest, options);
  await using progress = new NodeProgress(records, pull, node, manifest, log);
  if (config === undefined) {
    await progress.ready();
    return [];
  }
  const ended = new AbortController();
  const signal = AbortSignal.any([options.signal, ended.signal]);
  const end = () => ended.abort(new DrayError('CANCELLED', 'The pull has ended'));
  const stopListening = hints.onEnded(pull, end);
  const looking = setInterval(() => {
    look().catch((error: unknown) => log.debug({ err: error, pull }, 'looking after a pull'));
  }, lookInterval);
  try {
    await unpackImage(
      { ...services, content: store.content, manifest, config },
      { signal, onLayer: progress.layer, advanced: (digest) => hints.advanced(digest) },
    );
    await progress.ready();
    return [];
  } catch (error) {
    if (ended.signal.aborted && !options.signal.aborted) return [];
    throw error;
  } finally {
    clearInterval(looking);
    stopListening();
  }

  async function look(): Promise<void> {
    const now = await records.state(pull);
    if (now === undefined || isFinished(now)) {
      end();
      return;
    }
    // A blob that the store lost while we wait for it is wanted again.
    const missing = await records.missing(pull);
    for (const layer of manifest.layers) {
      if (progress.isDone(layer.digest) || missing.includes(layer.digest)) continue;
      if ((await store.content.info(layer.digest, { signal })) === undefined) {
        await records.reopenBlob(pull, layer.digest);
      }
    }
  }
}

/** The node can't run the image: this pull's fault only, other nodes go on. */
export async function unpackGaveUp(
  payload: UnpackPayload,
  services: Pick<UnpackServices, 'node' | 'records'>,
  error: DrayError,
): Promise<void> {
  const { records, node } = services;
  const known = await records.node(payload.pull, node);
  if (known === undefined) return;
  await records.setNode(payload.pull, node, {
    state: 'failed',
    layers: known.layers,
    error: encodeError(error),
  });
}
