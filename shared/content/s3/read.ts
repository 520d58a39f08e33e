import { DrayError } from '../../errors.ts';
import { pause } from '../pause.ts';
import type { ReadOptions } from '../store.ts';
import type { Bucket } from './bucket.ts';
import { s3Error } from './errors.ts';

/** Answers in a row that brought no byte. */
const mostFailures = 5;
/** Milliseconds before the first of them is tried again; doubled for each more. */
const firstPause = 100;
/** Bytes of one request. */
const rangeBytes = 4 << 20;
/** Ranges that are fetched beside the one that is read, and kept in memory until they are. */
const rangesAhead = 3;

interface Source {
  bucket: Bucket;
  key: string;
  /** Only if it is still that. */
  etag: string | undefined;
  signal: AbortSignal;
  /** Where the object ends, once an answer has said so. */
  size?: number;
}

/**
 * The bytes of an object, in order: some ranges of it at once, as soon as somebody reads on after the first bytes.
 * One connection to S3 gives a fraction of what a node can take. A stream that breaks is continued where it was, by
 * another request.
 * @throws NOT_FOUND, STORE_UNAVAILABLE
 */
export async function* readObject(
  bucket: Bucket,
  key: string,
  options: ReadOptions & { etag?: string },
): AsyncIterable<Uint8Array> {
  const { offset = 0, length = Number.POSITIVE_INFINITY, etag } = options;
  const ended = new AbortController();
  const signal =
    options.signal === undefined ? ended.signal : AbortSignal.any([options.signal, ended.signal]);
  const source: Source = { bucket, key, etag, signal };
  const last = () => Math.min(offset + length, source.size ?? offset);
  const ahead: Promise<Uint8Array[]>[] = [];
  let next = offset + Math.min(length, rangeBytes);
  const fetchAhead = () => {
    while (ahead.length < rangesAhead && next < last()) {
      const range = collect(readRange(source, next, Math.min(next + rangeBytes, last())));
      // Whoever waits for it is told.
      range.catch(() => {});
      ahead.push(range);
      next += rangeBytes;
    }
  };
  try {
    for await (const chunk of readRange(source, offset, next)) {
      yield chunk;
      fetchAhead();
    }
    fetchAhead();
    for (let range = ahead.shift(); range !== undefined; range = ahead.shift()) {
      const chunks = await range;
      fetchAhead();
      for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) yield chunk;
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    ended.abort();
    await Promise.allSettled(ahead);
  }
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

/** The bytes from `start` up to `end`, or up to where the object ends. */
async function* readRange(
  source: Source,
  start: number,
  wantedEnd: number,
): AsyncIterable<Uint8Array> {
  const { bucket, key, etag, signal } = source;
  let position = start;
  let end = wantedEnd;
  for (let failures = 0; position < end; ) {
    signal.throwIfAborted();
    try {
      const answer = await bucket.get(key, {
        ...{ start: position, end, signal },
        ...(etag === undefined ? {} : { etag }),
      });
      if (answer === 'past-the-end') return;
      source.size = answer.size;
      end = Math.min(end, answer.size);
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
