import { DrayError } from '../../errors.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import { sizeMismatch } from '../blob.ts';
import { pause } from '../pause.ts';
import type { CallOptions } from '../store.ts';
import type { Bucket } from './bucket.ts';
import type { Keys } from './keys.ts';
import { listParts, type Part } from './parts.ts';
import { readObject } from './read.ts';

/** Milliseconds between two looks, at first and at most; a hint wakes sooner, but not more often than the shortest. */
const shortestPause = 100;
const longestPause = 500;
const hintPause = 50;

/**
 * The bytes of a blob while they come in: from any writer's part that has the next ones, then from the blob.
 * A blob that fits one part has no parts, and comes when it is committed.
 */
export async function* followInBucket(
  bucket: Bucket,
  keys: Keys,
  descriptor: Descriptor,
  options: CallOptions & { offset?: number; advanced?: EventTarget },
): AsyncIterable<Uint8Array> {
  const { digest, size } = descriptor;
  const { signal, advanced } = options;
  const call = signal === undefined ? {} : { signal };
  let position = options.offset ?? 0;
  let waiting = shortestPause;
  let known: Part[] = [];
  let stuck = false;
  for (;;) {
    const part = position < size ? partAt(known, position) : undefined;
    if (part !== undefined) {
      const before = position;
      try {
        const from = { offset: position - part.offset, etag: part.etag };
        for await (const chunk of readObject(bucket, part.key, { ...call, ...from })) {
          const wanted = chunk.subarray(0, size - position);
          position += wanted.length;
          yield wanted;
        }
      } catch (error) {
        // It was dropped, or gave way to the blob: the next look says which.
        if (!isGone(error)) throw error;
      }
      stuck = position === before;
      if (!stuck) waiting = shortestPause;
      if (position < part.offset + part.size) known = known.filter((other) => other !== part);
      continue;
    }
    const blob = await bucket.head(keys.blob(digest), call);
    if (blob !== undefined) {
      if (blob.size !== size) throw sizeMismatch(descriptor, blob.size);
      yield* readObject(bucket, keys.blob(digest), {
        ...call,
        offset: position,
        length: size - position,
      });
      return;
    }
    if (position < size) {
      known = [];
      for await (const found of listParts(bucket, keys, keys.ingest(digest), call))
        known.push(found);
      // A part that was listed and could not be read is not asked for again at once.
      if (!stuck && partAt(known, position) !== undefined) continue;
      stuck = false;
    }
    await pause(hintPause, { signal });
    await pause(waiting - hintPause, { signal, advanced });
    waiting = Math.min(waiting * 1.5, longestPause);
  }
}

/** The part that has the byte at `position`, and most after it. */
function partAt(parts: Part[], position: number): Part | undefined {
  return parts
    .filter((part) => part.offset <= position && position < part.offset + part.size)
    .reduce<Part | undefined>((best, part) => {
      return best === undefined || part.offset + part.size > best.offset + best.size ? part : best;
    }, undefined);
}

function isGone(error: unknown): boolean {
  return error instanceof DrayError && (error.code === 'NOT_FOUND' || error.context.status === 412);
}
