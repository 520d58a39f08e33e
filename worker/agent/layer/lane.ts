import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { FileRange } from '../../../shared/content/store.ts';
import { DrayError, decodeError } from '../../../shared/errors.ts';
import { type DiffID, type DigestAlgorithm, parseDiffID } from '../../../shared/image/digest.ts';
import type { WrittenLayer } from './entry-writer.ts';
import { writeRange } from './file-range.ts';
import type { LayerLimits } from './limits.ts';
import { Cancelled, createRing, Ring } from './ring.ts';
import type { ThreadJob, ThreadReady, ThreadReport } from './thread-protocol.ts';

/** A layer's bytes as stored (gzip, zstd or plain), or where they stand. */
export type LayerSource =
  | AsyncIterable<Uint8Array>
  | { ranges: AsyncIterable<FileRange> }
  | { file: string };

export interface LaneJob {
  source: LayerSource;
  target: string;
  algorithm: DigestAlgorithm;
  lowerDirs: readonly string[];
  limits: LayerLimits;
}

export interface LaneResult extends WrittenLayer {
  diffID: DiffID;
  tarBytes: number;
}

const threads = ['inflate', 'digest', 'write'] as const;
/** Milliseconds in which a cancelled layer comes to its end. */
const cancelBound = 5_000;

/**
 * Three threads that work on one layer at a time: they decompress, digest and write at once, over shared
 * memory. They live on from layer to layer.
 */
export class Lane {
  readonly #workers: Worker[];
  /** Resolves when every thread has loaded its code, or has ended. */
  readonly #loaded: Promise<unknown>;
  readonly #input = createRing({ slots: 8, slotSize: 256 * 1024, consumers: 1 });
  readonly #output = createRing({ slots: 16, slotSize: 256 * 1024, consumers: 2 });
  readonly #inputRing = new Ring(this.#input);
  readonly #outputRing = new Ring(this.#output);
  readonly #progress = new BigInt64Array(new SharedArrayBuffer(8));
  #running: Promise<unknown> = Promise.resolve();
  #fed = 0;
  #usable = true;

  constructor() {
    const loading: Promise<void>[] = [];
    this.#workers = threads.map((name) => {
      const worker = new Worker(new URL(`./${name}-thread.ts`, import.meta.url), {
        name: `layer ${name}`,
        // A descriptor of a folder that fails to close is the kernel's affair.
        trackUnmanagedFds: false,
        execArgv: [],
      });
      const lost = () => {
        this.#usable = false;
      };
      worker.once('error', lost);
      worker.once('exit', lost);
      const { promise, resolve } = Promise.withResolvers<void>();
      loading.push(promise);
      worker.once('message', () => resolve());
      worker.once('error', () => resolve());
      worker.once('exit', () => resolve());
      worker.unref();
      return worker;
    });
    this.#loaded = Promise.all(loading);
  }

  /** Whether all its threads live. */
  get usable(): boolean {
    return this.#usable;
  }

  /** Compressed bytes that came in, and uncompressed ones that were written, of the layer at hand. */
  get progress(): { fed: number; written: number } {
    return { fed: this.#fed, written: Number(Atomics.load(this.#progress, 0)) };
  }

  /** Lets the layer at hand fail soon. */
  cancel(): void {
    this.#inputRing.cancel();
    this.#outputRing.cancel();
  }

  /** Applies one layer. When this settles, no thread touches the target any more. */
  async run({ source, target, algorithm, lowerDirs, limits }: LaneJob): Promise<LaneResult> {
    this.#inputRing.reset();
    this.#outputRing.reset();
    Atomics.store(this.#progress, 0, 0n);
    this.#fed = 0;
    const job: ThreadJob = {
      input:
        'file' in source
          ? source
          : { ring: this.#input, holds: 'ranges' in source ? 'ranges' : 'bytes' },
      output: this.#output,
      progress: this.#progress.buffer,
      target,
      algorithm,
      lowerDirs,
      limits,
    };
    const working = this.#workers.map((worker) => this.#report(worker, job));
    const feeding = this.#feedFrom(source, working);
    const ending = Promise.allSettled([feeding, ...working]);
    this.#running = ending;
    const [fed, ...reports] = await ending;
    if (fed.status === 'rejected') throw fed.reason;
    return result(reports.map((report) => (report.status === 'fulfilled' ? report.value : lost())));
  }

  /**
   * Ends the threads. One that is ended while it is inside native code, as it is when it loads that, may take the
   * whole process down with it: so they come to rest first.
   */
  async close(): Promise<void> {
    this.cancel();
    for (const worker of this.#workers) worker.ref();
    // However long it takes on a busy machine, loading ends.
    await this.#loaded;
    const timer = new AbortController();
    await Promise.race([
      this.#running,
      sleep(cancelBound, undefined, { signal: timer.signal }).catch(() => {}),
    ]);
    timer.abort();
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #report(worker: Worker, job: ThreadJob): Promise<ThreadReport> {
    const { promise, resolve, reject } = Promise.withResolvers<ThreadReport>();
    const failed = (error: unknown) => {
      this.cancel();
      reject(error);
    };
    const exited = () => failed(new Error('A thread that unpacks layers has ended'));
    const reported = (message: ThreadReady | ThreadReport) => {
      if (message.kind !== 'ready') resolve(message);
    };
    worker.ref();
    worker.on('message', reported);
    worker.once('error', failed);
    worker.once('exit', exited);
    worker.postMessage(job);
    return promise.finally(() => {
      worker.off('message', reported);
      worker.off('error', failed);
      worker.off('exit', exited);
      worker.unref();
    });
  }

  async #feedFrom(source: LayerSource, working: readonly Promise<unknown>[]): Promise<void> {
    if ('file' in source) return;
    if ('ranges' in source) await this.#feed(source.ranges, working, (range) => this.#point(range));
    else await this.#feed(source, working, (chunk) => this.#put(chunk));
  }

  /** Hands the source's items on, one after the other, until its end or the threads'. */
  async #feed<T>(
    source: AsyncIterable<T>,
    working: readonly Promise<unknown>[],
    hand: (item: T) => Promise<void>,
  ): Promise<void> {
    const ring = this.#inputRing;
    const iterator = source[Symbol.asyncIterator]();
    let stop = (): void => {};
    const stopped = () => stop();
    for (const thread of working) thread.then(stopped, stopped);
    let ended = false;
    try {
      for (;;) {
        if (ring.cancelled) return;
        const next = iterator.next();
        // A source may hang: the threads' end ends the waiting.
        const item = await new Promise<IteratorResult<T> | undefined>((resolve, reject) => {
          stop = () => {
            if (ring.cancelled) resolve(undefined);
          };
          next.then(resolve, reject);
        });
        if (item === undefined) return;
        ended = item.done === true;
        if (item.done) break;
        await hand(item.value);
      }
      ring.end();
    } catch (error) {
      this.cancel();
      if (!(error instanceof Cancelled)) throw error;
    } finally {
      // What the source holds open may be read until the threads are at their end.
      if (!ended) {
        Promise.allSettled(working)
          .then(() => iterator.return?.())
          .catch(() => {});
      }
    }
  }

  /** Says where bytes stand, and waits until they were read. */
  async #point(range: FileRange): Promise<void> {
    const slot = await this.#inputRing.acquireLater();
    this.#inputRing.publish(writeRange(slot, range));
    this.#fed += range.length;
    await this.#inputRing.drained();
  }

  /** Copies a chunk into the ring, waiting where that is full. */
  async #put(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      const slot = await this.#inputRing.acquireLater();
      const part = chunk.subarray(at, at + slot.length);
      slot.set(part);
      this.#inputRing.publish(part.length);
      at += part.length;
      this.#fed += part.length;
    }
  }
}

function result(reports: readonly ThreadReport[]): LaneResult {
  for (const report of reports) if (report.kind === 'failed') throw decodeError(report.error);
  let layer: Partial<LaneResult> = {};
  for (const report of reports) {
    if (report.kind !== 'done') throw new Cancelled();
    const { result } = report;
    if ('inflate' in result) layer = { ...layer, tarBytes: result.inflate.bytes };
    else if ('digest' in result) layer = { ...layer, diffID: parseDiffID(result.digest) };
    else layer = { ...layer, ...result.write };
  }
  const { diffID, tarBytes, entries, diskBytes, deferred } = layer;
  if (
    diffID === undefined ||
    tarBytes === undefined ||
    entries === undefined ||
    diskBytes === undefined ||
    deferred === undefined
  ) {
    throw lostError();
  }
  return { diffID, tarBytes, entries, diskBytes, deferred };
}

function lost(): ThreadReport {
  throw lostError();
}

function lostError(): DrayError {
  return new DrayError('INTERNAL', 'A thread that unpacks layers has ended unexpectedly', {
    retryable: true,
    hint: 'The log of the agent says more.',
  });
}
