import { DrayError } from '../../errors.ts';
import { pause } from '../pause.ts';
import type { ReadOptions } from '../store.ts';
import type { Bucket } from './bucket.ts';
import { s3Error } from './errors.ts';

/** Answers in a row that brought no byte. */
const mostFailures = 5;
/** Milliseconds before the first of them is tried again; doubled for each more. */
const firstPause = 100;

/**
 * The bytes of an object. A stream that breaks is continued where it was, by another request.
 * @throws NOT_FOUND, STORE_UNAVAILABLE
 */
export async function* readObject(
  bucket: Bucket,
  key: string,
  options: ReadOptions & { etag?: string },
): AsyncIterable<Uint8Array> {
  const { offset = 0, length, signal, etag } = options;
  let position = offset;
  let end = length === undefined ? undefined : offset + length;
  for (let failures = 0; end === undefined || position < end; ) {
    signal?.throwIfAborted();
    try {
      const answer = await bucket.get(key, {
        start: position,
        ...(end === undefined ? {} : { end }),
        ...(signal === undefined ? {} : { signal }),
        ...(etag === undefined ? {} : { etag }),
      });
      if (answer === 'past-the-end') return;
      end = Math.min(end ?? answer.size, answer.size);
      for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
        position += chunk.length;
        failures = 0;
        yield chunk;
      }
      if (position >= end) return;
      throw new Error(`the answer ended at byte ${position} of ${end}`);
    } catch (error) {
      const told = s3Error(error, bucket.place, { key, signal });
      const passing = told instanceof DrayError && told.retryable;
      if (!passing || ++failures > mostFailures || etagChanged(told)) throw told;
    }
    await pause(firstPause * 2 ** (failures - 1), { signal });
  }
}

function etagChanged(error: DrayError): boolean {
  return error.context.status === 412;
}
