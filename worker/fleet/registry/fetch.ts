import { DrayError } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import type { Reference } from '../../../shared/image/reference.ts';
import { backoff } from './backoff.ts';
import type { BlobBody } from './blob-body.ts';
import { networkError } from './network-error.ts';
import { RateWatch } from './rate-watch.ts';

/** Where the bytes of a blob go: an ingest of the content store. */
export interface BlobSink {
  /** Bytes that it has. */
  readonly offset: number;
  write(chunk: Uint8Array): Promise<void>;
  /** Starts again at 0. */
  reset(): Promise<void>;
}

export interface SourceOptions {
  /** The name of the credential that counts. */
  credential?: string | undefined;
  /** False: from the registry itself. */
  mirrors?: boolean | undefined;
}

/** What gives blobs: the registry client. */
export interface BlobSource {
  blob(
    reference: Reference,
    descriptor: Descriptor,
    options: { offset: number; signal: AbortSignal } & SourceOptions,
  ): Promise<BlobBody>;
}

export interface FetchOptions extends SourceOptions {
  signal: AbortSignal;
  /** Called after each write, with the bytes that the sink has. */
  onProgress?: (offset: number) => void;
  /** Connections in a row that may bring no progress; default 5. */
  tries?: number;
  /** Milliseconds before the second one; doubles. */
  backoffMs?: number;
  /** Below so many bytes a second, over a window of time spent waiting for the network, a connection is given up. */
  minRate?: { bytesPerSecond: number; windowMs: number };
}

const defaultMinRate = { bytesPerSecond: 1024, windowMs: 30_000 };

/**
 * Brings a blob's bytes into a sink, from where the sink stands: over as many connections as it takes while each
 * brings a little more. Does not verify the digest: committing the sink does. Never writes past the descriptor's size.
 * @throws SIZE_MISMATCH when the blob has another size (the sink is empty then), BLOB_UNKNOWN, UNAUTHORIZED, DENIED,
 * RATE_LIMITED, REGISTRY_UNAVAILABLE, REGISTRY_PROTOCOL, ADDRESS_REFUSED, and what the sink throws
 */
export async function fetchBlob(
  source: BlobSource,
  reference: Reference,
  descriptor: Descriptor,
  sink: BlobSink,
  options: FetchOptions,
): Promise<void> {
  const { signal, tries = 5, backoffMs = 250 } = options;
  // A connection counts as fruitful when it brings more than a drop: a trickle of broken ones ends some time.
  const worthwhile = Math.min(64 * 1024, Math.ceil(descriptor.size / 16));
  let reached = sink.offset;
  let fruitless = 0;
  while (sink.offset < descriptor.size) {
    signal.throwIfAborted();
    try {
      await transfer(source, reference, descriptor, sink, options);
    } catch (error) {
      signal.throwIfAborted();
      if (!isPassing(error)) throw error;
      fruitless = sink.offset >= reached + worthwhile ? 0 : fruitless + 1;
      reached = Math.max(reached, sink.offset);
      if (fruitless >= tries) throw gaveUp(error, tries);
      await backoff(fruitless + 1, { backoffMs, signal });
    }
  }
}

async function transfer(
  source: BlobSource,
  reference: Reference,
  descriptor: Descriptor,
  sink: BlobSink,
  options: FetchOptions,
): Promise<void> {
  const { size, digest } = descriptor;
  using watch = new RateWatch(
    options.minRate ?? defaultMinRate,
    `${reference.registry} sends ${digest}`,
  );
  const signal = AbortSignal.any([options.signal, watch.signal]);
  const { credential, mirrors } = options;
  const blob = await source.blob(reference, descriptor, {
    ...{ offset: sink.offset, signal, credential, mirrors },
  });
  const { host } = blob.url;
  const body = blob.body[Symbol.asyncIterator]();
  try {
    if (blob.offset !== sink.offset) await sink.reset();
    for (;;) {
      let next: IteratorResult<Uint8Array>;
      watch.begin();
      try {
        next = await body.next();
      } catch (error) {
        throw networkError(error, `GET of ${digest}, at byte ${sink.offset}`, blob.url, signal);
      }
      signal.throwIfAborted();
      if (next.done) break;
      const chunk = next.value;
      watch.end(chunk.length);
      if (chunk.length === 0) continue;
      if (sink.offset + chunk.length > size) {
        await sink.reset();
        throw new DrayError(
          'SIZE_MISMATCH',
          `${host} sends more than the ${size} bytes of ${digest}`,
          {
            context: { host, digest },
            hint: 'The image or the registry is broken. Push the image again.',
          },
        );
      }
      await sink.write(chunk);
      options.onProgress?.(sink.offset);
    }
  } finally {
    await body.return?.().catch(() => {});
  }
  if (sink.offset < size) {
    throw new DrayError(
      'SIZE_MISMATCH',
      `${host} ended ${digest} after ${sink.offset} of ${size} bytes`,
      {
        retryable: true,
        context: { host, digest },
        hint: 'The image or the registry is broken. Push the image again.',
      },
    );
  }
}

/** Whether another connection may bring what this one did not. A registry's limit is for the queue to wait out. */
function isPassing(error: unknown): error is DrayError {
  return (
    error instanceof DrayError &&
    error.retryable &&
    (error.code === 'REGISTRY_UNAVAILABLE' || error.code === 'SIZE_MISMATCH')
  );
}

/** A server that is down may come back; one that keeps to another size will not change its mind. */
function gaveUp(error: DrayError, tries: number): DrayError {
  const { code, message, hint, context, cause } = error;
  return new DrayError(code, `${message} (gave up after ${tries} connections without progress)`, {
    retryable: code === 'REGISTRY_UNAVAILABLE',
    context,
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}
