import { DrayError } from '../../errors.ts';
import type { CallOptions } from '../store.ts';
import type { Bucket } from './bucket.ts';
import { forEachAtMost, type Part } from './parts.ts';

/** Bytes: what S3 asks of every part of a multipart upload but the last. */
export const smallestPart = 5 << 20;

const copiesAtOnce = 4;
/** Milliseconds that the abort of an upload may take, whatever the caller's signal says. */
const abortTime = 10_000;

/**
 * Makes the parts one object, inside the bucket: nothing is readable under the key before all of it is there.
 * Each part must still be the object whose bytes were read or sent. When another writer was first and took the
 * parts away, its object is the same.
 */
export async function assemble(
  bucket: Bucket,
  key: string,
  parts: Part[],
  size: number,
  options: CallOptions,
): Promise<'committed' | 'exists'> {
  const target = { key, uploadId: await bucket.begin(key, options) };
  try {
    const etags: string[] = [];
    await forEachAtMost(copiesAtOnce, parts.entries(), async ([index, part]) => {
      etags[index] = await bucket.copyPart({ ...target, number: index + 1 }, part, options);
    });
    await bucket.complete(target, etags, options);
  } catch (error) {
    await bucket.abort(target, { signal: AbortSignal.timeout(abortTime) }).catch(() => {});
    options.signal?.throwIfAborted();
    // An answer that got lost, or another writer's commit: what counts is what is there.
    const there = await bucket.head(key, options);
    if (there?.size === size) return 'exists';
    if (error instanceof DrayError && error.code === 'NOT_FOUND') throw partsGone(error);
    throw error;
  }
  const there = await bucket.head(key, options);
  if (there?.size === size) return 'committed';
  await bucket.remove(key, options);
  throw new DrayError('STORE_UNAVAILABLE', `${bucket.place} put a blob together wrongly`, {
    retryable: true,
    hint: 'The S3 server is broken: the object does not have the size of its parts.',
    context: { key, expected: size, found: there?.size ?? -1 },
  });
}

function partsGone(cause: DrayError): DrayError {
  return new DrayError('STORE_UNAVAILABLE', 'Another writer dropped parts that were in use', {
    cause,
    retryable: true,
    hint: 'The next attempt fetches them again.',
    context: cause.context,
  });
}
