import { DrayError } from '../../errors.ts';
import type { CallOptions } from '../store.ts';
import type { Bucket } from './bucket.ts';
import type { Part } from './parts.ts';

/** Bytes: what S3 asks of every part of a multipart upload but the last. */
export const smallestPart = 5 << 20;

const copiesAtOnce = 4;
/** Milliseconds that the abort of an upload may take, whatever the caller's signal says. */
const abortTime = 10_000;

/**
 * Makes parts one object inside the bucket, beside those who still store parts, so that little is left to do at
 * the end. Nothing is readable under the key before {@link publish}. Each part must still be the object whose
 * bytes were read or sent.
 */
export class Assembly {
  readonly #bucket: Bucket;
  readonly #key: string;
  readonly #stop = new AbortController();
  #target: Promise<{ key: string; uploadId: string }> | undefined;
  #waiting: { number: number; part: Part }[] = [];
  #copying = new Set<Promise<void>>();
  #etags: string[] = [];
  #failure: { error: unknown } | undefined;

  constructor(bucket: Bucket, key: string) {
    this.#bucket = bucket;
    this.#key = key;
  }

  /** Copies a part when its turn comes. `number` counts the blob's parts from 1. */
  add(number: number, part: Part): void {
    this.#waiting.push({ number, part });
    this.#next();
  }

  /**
   * Publishes the object, if all parts could be copied. When another writer was first and took the parts away,
   * its object is the same.
   */
  async publish(
    size: number,
    options: CallOptions & { ifAbsent: boolean },
  ): Promise<'committed' | 'exists'> {
    const abort = () => this.#stop.abort(options.signal?.reason);
    options.signal?.addEventListener('abort', abort);
    try {
      while (this.#copying.size > 0) await Promise.race(this.#copying);
      options.signal?.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure.error;
      const target = await this.#begin();
      if (!(await this.#bucket.uploads.complete(target, this.#etags, options))) {
        await this.abort();
        return 'exists';
      }
    } catch (error) {
      await this.abort();
      options.signal?.throwIfAborted();
      // An answer that got lost, or another writer's commit: what counts is what is there.
      const there = await this.#bucket.head(this.#key, options);
      if (there?.size === size) return 'exists';
      if (error instanceof DrayError && error.code === 'NOT_FOUND') throw partsGone(error);
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', abort);
    }
    const there = await this.#bucket.head(this.#key, options);
    if (there?.size === size) return 'committed';
    await this.#bucket.remove(this.#key, options);
    const { place } = this.#bucket;
    throw new DrayError('STORE_UNAVAILABLE', `${place} put a blob together wrongly`, {
      retryable: true,
      hint: 'The S3 server is broken: the object does not have the size of its parts.',
      context: { key: this.#key, expected: size, found: there?.size ?? -1 },
    });
  }

  /** Drops everything that was copied. Its failure leaves an upload that is swept later. */
  async abort(): Promise<void> {
    this.#waiting = [];
    this.#stop.abort();
    await Promise.all(this.#copying);
    const target = await this.#target?.catch(() => undefined);
    this.#target = undefined;
    if (target === undefined) return;
    await this.#bucket.uploads
      .abort(target, { signal: AbortSignal.timeout(abortTime) })
      .catch(() => {});
  }

  #begin(): Promise<{ key: string; uploadId: string }> {
    this.#target ??= this.#bucket.uploads
      .begin(this.#key, { signal: this.#stop.signal })
      .then((uploadId) => ({ key: this.#key, uploadId }));
    return this.#target;
  }

  #next(): void {
    while (this.#copying.size < copiesAtOnce && this.#failure === undefined) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      const one: Promise<void> = this.#copy(next)
        .catch((error: unknown) => {
          this.#failure ??= { error };
        })
        .finally(() => {
          this.#copying.delete(one);
          this.#next();
        });
      this.#copying.add(one);
    }
  }

  async #copy({ number, part }: { number: number; part: Part }): Promise<void> {
    const { signal } = this.#stop;
    const target = await this.#begin();
    this.#etags[number - 1] = await this.#bucket.uploads.copyPart({ ...target, number }, part, {
      signal,
    });
  }
}

function partsGone(cause: DrayError): DrayError {
  return new DrayError('STORE_UNAVAILABLE', 'Another writer dropped parts that were in use', {
    cause,
    retryable: true,
    hint: 'The next attempt fetches them again.',
    context: cause.context,
  });
}
