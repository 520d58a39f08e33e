import type { Store } from '../../../shared/content/store.ts';
import { ageOf } from '../../../shared/duration.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { Digest } from '../../../shared/image/digest.ts';
import type { Manifest } from '../../../shared/image/manifest.ts';
import type { Logger } from '../../../shared/logging.ts';
import type { Assignment } from '../../../shared/pull/pull-nodes.ts';
import type { PullRecords } from '../../../shared/pull/records.ts';
import { refetchBlob } from './lost-blob.ts';
import type { NodeProgress } from './progress.ts';

/** Milliseconds between two looks at whether the pull still wants this, and whether its blobs are still there. */
const lookInterval = 5_000;

/** Why work was stopped that its pull wants no more. */
export const unwanted = new DrayError('CANCELLED', 'The pull wants this of the node no more');

export interface WatchServices {
  node: string;
  store: Store;
  records: PullRecords;
  progress: NodeProgress;
  manifest: Manifest;
  log: Logger;
}

/**
 * Looks after the work of a node for a pull while it goes on: says that the node is at it, and stops it when the pull
 * wants it no more ({@link unwanted}), or when nothing has moved for as long as the pull allows (TIMEOUT). A blob that
 * the store has lost meanwhile is wanted again.
 */
export class PullWatch implements AsyncDisposable {
  readonly #services: WatchServices;
  readonly #pull: string;
  readonly #noProgressMs: number | undefined;
  readonly #stop: (why: DrayError) => void;
  readonly #ended = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #looking: Promise<void> | undefined;
  #lastLook = { movedAt: 0, bytes: 0, changedAt: Date.now() };

  constructor(
    services: WatchServices,
    pull: string,
    { noProgressMs }: Assignment,
    stop: (why: DrayError) => void,
  ) {
    this.#services = services;
    this.#pull = pull;
    this.#noProgressMs = noProgressMs;
    this.#stop = stop;
    const interval = Math.min(lookInterval, noProgressMs ?? lookInterval);
    this.#timer = setInterval(() => this.look(), interval);
  }

  /** Looks now, unless it does already. */
  look(): void {
    this.#looking ??= this.#look()
      .catch((error: unknown) => {
        this.#services.log.debug({ err: error, pull: this.#pull }, 'looking after a pull');
      })
      .finally(() => {
        this.#looking = undefined;
      });
  }

  async #look(): Promise<void> {
    const { records, node, progress } = this.#services;
    if (!(await records.nodes.atWork(this.#pull, node))) {
      this.#stop(unwanted);
      return;
    }
    // What moves by itself needs no help.
    if (progress.movedAt !== this.#lastLook.movedAt) {
      this.#lastLook = { movedAt: progress.movedAt, bytes: 0, changedAt: progress.movedAt };
      return;
    }
    const missing = await records.blobs.missing(this.#pull);
    const transfers = await records.transfers.all(missing);
    const bytes = [...transfers.values()].reduce((sum, each) => sum + each.bytes, missing.length);
    if (bytes !== this.#lastLook.bytes) {
      this.#lastLook = { ...this.#lastLook, bytes, changedAt: Date.now() };
    }
    this.#giveUpWhenStill();
    await this.#reopenLost(missing);
  }

  #giveUpWhenStill(): void {
    const { changedAt } = this.#lastLook;
    if (this.#noProgressMs === undefined || Date.now() - changedAt < this.#noProgressMs) return;
    const { layers } = this.#services.progress;
    const at = layers.findIndex(({ state }) => state !== 'done');
    const { digest, bytes } = layers[at] ?? {};
    const still = ageOf(new Date(changedAt), new Date());
    const message = `Layer ${at + 1} of ${layers.length} (${digest}) made no progress for ${still}, with ${bytes} bytes of it unpacked`;
    this.#stop(
      new DrayError('TIMEOUT', message, {
        hint: 'Look into the log of the agent, then pull again: what was done so far is not done again.',
        ...(digest === undefined ? {} : { context: { layer: at, digest } }),
      }),
    );
  }

  /** A blob that the store lost while we wait for it is wanted again. */
  async #reopenLost(missing: readonly Digest[]): Promise<void> {
    const { progress, manifest, store } = this.#services;
    const { signal } = this.#ended;
    for (const { digest } of manifest.layers) {
      if (progress.isDone(digest) || missing.includes(digest)) continue;
      if ((await store.content.info(digest, { signal })) !== undefined) continue;
      await refetchBlob(this.#services, this.#pull, digest, 'is gone', { signal });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#ended.abort();
    await this.#looking;
  }
}
