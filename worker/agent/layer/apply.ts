import { isAbsolute } from 'node:path';
import { DrayError } from '../../../shared/errors.ts';
import type { DiffID, DigestAlgorithm } from '../../../shared/image/digest.ts';
import type { Deferred } from './deferred.ts';
import { Lane, type LayerSource } from './lane.ts';
import { defaultLimits, type LayerLimits, limitError } from './limits.ts';
import { Cancelled } from './ring.ts';

export interface ApplyOptions {
  limits?: Partial<LayerLimits>;
  /** Of the diffID that the caller compares; default sha256. */
  algorithm?: DigestAlgorithm;
  /**
   * The folders of the layers below, nearest first: paths that go through their symlinks then lead where
   * those do. Without them {@link Deferred} tells what they may be needed for.
   */
  lowerDirs?: readonly string[];
  signal?: AbortSignal;
  /** Called now and then with the bytes of the tar that were written so far. */
  onProgress?: (tarBytes: number) => void;
}

export interface AppliedLayer {
  diffID: DiffID;
  /** Bytes of the uncompressed archive. */
  tarBytes: number;
  /** Entries of the archive. */
  entries: number;
  /** About what the layer takes on disk, in bytes. */
  diskBytes: number;
  /** What {@link rebaseLayer} settles when the layers below are there. */
  deferred: Deferred;
}

/** Milliseconds between two calls of `onProgress`, and between two looks at whether anything moves. */
const progressInterval = 200;

interface Turn {
  resolve: (lane: Lane) => void;
  reject: (reason: unknown) => void;
}

/**
 * Applies layers, each without its parents, in the form that overlayfs takes: whiteouts become devices 0:0,
 * opaque folders get trusted.overlay.opaque. Needs root.
 */
export class LayerApplier implements AsyncDisposable {
  readonly #threads: number;
  readonly #limits: LayerLimits;
  readonly #idle: Lane[] = [];
  readonly #lanes = new Set<Lane>();
  readonly #turns = new Set<Turn>();
  #closed = false;

  /** `threads`: layers that are applied at once; more wait for their turn. */
  constructor(options: { threads?: number; limits?: Partial<LayerLimits> } = {}) {
    this.#threads = options.threads ?? 2;
    this.#limits = { ...defaultLimits, ...options.limits };
  }

  /**
   * Makes a layer's files in `target`, an empty folder of this process alone. What a failure leaves in it is
   * for the caller to remove; nothing touches it any more when this rejects. Bytes of the archive behind its
   * end marker count for the diffID, which the caller compares.
   * @throws LAYER_INVALID, LAYER_LIMIT, NO_SPACE, TOOL_MISSING, what the source throws, or the signal's reason
   */
  async apply(
    source: LayerSource,
    target: string,
    options: ApplyOptions = {},
  ): Promise<AppliedLayer> {
    const { signal } = options;
    if (!isAbsolute(target)) throw new TypeError('the target of a layer is an absolute path');
    signal?.throwIfAborted();
    const lane = await this.#take(signal);
    try {
      return await this.#run(lane, source, target, options);
    } finally {
      this.#give(lane);
    }
  }

  async #run(
    lane: Lane,
    source: LayerSource,
    target: string,
    { signal, limits: given, algorithm = 'sha256', lowerDirs = [], onProgress }: ApplyOptions,
  ): Promise<AppliedLayer> {
    const limits = { ...this.#limits, ...given };
    const aborted = () => lane.cancel();
    let idle = false;
    let moved = { at: performance.now(), fed: 0, written: 0 };
    const running = lane.run({ source, target, algorithm, lowerDirs, limits });
    const timer = setInterval(() => {
      const { fed, written } = lane.progress;
      const now = performance.now();
      if (fed !== moved.fed || written !== moved.written) {
        if (written !== moved.written) onProgress?.(written);
        moved = { at: now, fed, written };
      } else if (now - moved.at > limits.idleTimeoutMs) {
        idle = true;
        lane.cancel();
      }
    }, progressInterval);
    signal?.addEventListener('abort', aborted);
    if (signal?.aborted) lane.cancel();
    try {
      const layer = await running;
      signal?.throwIfAborted();
      onProgress?.(layer.tarBytes);
      return layer;
    } catch (error) {
      signal?.throwIfAborted();
      if (idle) throw limitError(`Nothing of the layer came for ${limits.idleTimeoutMs} ms`);
      if (error instanceof Cancelled) throw new DrayError('CANCELLED', error.message);
      throw error;
    } finally {
      clearInterval(timer);
      signal?.removeEventListener('abort', aborted);
    }
  }

  #take(signal: AbortSignal | undefined): Promise<Lane> {
    if (this.#closed) throw new DrayError('CANCELLED', 'The agent stops');
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (idle.usable) return Promise.resolve(idle);
      this.#drop(idle);
    }
    if (this.#lanes.size < this.#threads) return Promise.resolve(this.#open());
    return new Promise((resolve, reject) => {
      const aborted = () => {
        this.#turns.delete(turn);
        reject(signal?.reason);
      };
      const turn: Turn = {
        resolve: (lane) => {
          signal?.removeEventListener('abort', aborted);
          resolve(lane);
        },
        reject,
      };
      this.#turns.add(turn);
      signal?.addEventListener('abort', aborted, { once: true });
    });
  }

  #give(lane: Lane): void {
    if (this.#closed) return;
    let next = lane;
    if (!lane.usable) {
      this.#drop(lane);
      if (this.#turns.size === 0) return;
      next = this.#open();
    }
    const [turn] = this.#turns;
    if (turn === undefined) {
      this.#idle.push(next);
      return;
    }
    this.#turns.delete(turn);
    turn.resolve(next);
  }

  #open(): Lane {
    const lane = new Lane();
    this.#lanes.add(lane);
    return lane;
  }

  #drop(lane: Lane): void {
    this.#lanes.delete(lane);
    lane.close().catch(() => {});
  }

  /** Cancels what is being applied, and ends the threads. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const turn of this.#turns) turn.reject(new DrayError('CANCELLED', 'The agent stops'));
    this.#turns.clear();
    const lanes = [...this.#lanes];
    this.#lanes.clear();
    await Promise.all(lanes.map((lane) => lane.close()));
  }
}
