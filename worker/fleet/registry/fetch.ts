import { DrayError } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import type { Reference } from '../../../shared/image/reference.ts';
import { backoff } from './backoff.ts';
import type { Asked, BlobBody } from './blob-body.ts';
import { Part } from './part.ts';
import type { Lanes, Ranges } from './ranges.ts';
import { RateWatch } from './rate-watch.ts';
import type { BlobSink } from './sink.ts';

export interface SourceOptions {
  /** The name of the credential that counts. */
  credential?: string | undefined;
  /** False: from the registry itself. */
  mirrors?: boolean | undefined;
}

/** What gives blobs: the registry client. */
export interface BlobSource {
  /** Default: ranges are asked for only to go on where a connection broke. */
  readonly ranges?: Ranges;
  blob(
    reference: Reference,
    descriptor: Descriptor,
    options: Asked & { signal: AbortSignal } & SourceOptions,
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
  /**
   * When a blob comes in parts, and how large these are: when at least `from` bytes are missing, unless the first
   * part shows that one connection brings `enough` bytes a second.
   */
  parts?: { from: number; size: number; enough: number };
}

/** Connections in a row that mirrors may use up. */
const mirrorTries = 2;
const defaultMinRate = { bytesPerSecond: 1024, windowMs: 30_000 };
/** Small parts: those ahead of their turn are what a worker that dies loses, besides what its store loses. */
const defaultParts = { from: 64 << 20, size: 4 << 20, enough: 50e6 };

/** What is fetched, for the steps below. */
interface Task {
  source: BlobSource;
  reference: Reference;
  descriptor: Descriptor;
  options: FetchOptions;
}

/** Up to where a connection brings bytes. */
interface Span {
  end: number;
  /** Told with each answer: whether the registry goes along with a range. Otherwise the blob comes whole. */
  answered?: (ranged: boolean) => void;
  /** False: the mirrors had their chance. */
  mirrors?: boolean;
}

/**
 * Brings a blob's bytes into a sink, from where the sink stands: over as many connections as it takes while each
 * brings a little more, and of a large blob over some at once where the registry answers ranges. The sink gets the
 * bytes in order all the same. Does not verify the digest: committing the sink does. Never writes past the
 * descriptor's size.
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
  const task = { source, reference, descriptor, options };
  const { from } = options.parts ?? defaultParts;
  if (descriptor.size - sink.offset >= from) {
    using lanes = source.ranges?.lanes(reference.registry);
    if (lanes !== undefined) await fetchParts(task, sink, lanes);
  }
  // What parts did not bring, and says why.
  await fetchSpan(task, sink, { end: descriptor.size });
}

/**
 * Fetches some parts at once, each into memory until its turn. Returns without all bytes when one connection can go
 * on where the sink stands: the registry does not do ranges after all, or is near.
 */
async function fetchParts(task: Task, sink: BlobSink, lanes: Lanes): Promise<void> {
  const { source, reference, descriptor, options } = task;
  const { size: partSize, enough } = options.parts ?? defaultParts;
  using stop = disposableStop(options.signal);
  const ahead: Part[] = [];
  const spare: Buffer[] = [];
  let next = sink.offset;
  const nextEnd = () => {
    next = Math.min(descriptor.size, next + partSize);
    return next;
  };
  let failed = false;
  const fetchPart = async (end: number, part: BlobSink, own: { signal: AbortSignal }) => {
    try {
      await fetchSpan({ ...task, options: { ...options, ...own, onProgress: () => {} } }, part, {
        end,
      });
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  const start = () => {
    while (ahead.length < lanes.extra && next < descriptor.size && !failed) {
      const from = next;
      const end = nextEnd();
      const buffer = spare.pop() ?? Buffer.allocUnsafeSlow(partSize);
      ahead.push(new Part(from, buffer, stop, (part, own) => fetchPart(end, part, own)));
    }
  };
  let refused = false;
  let began = 0;
  const answered = (ranged: boolean) => {
    began = performance.now();
    if (ranged) return;
    refused = true;
    source.ranges?.refused(reference.registry);
  };
  try {
    // The first part alone, which shows how the registry takes ranges, and how fast it is.
    const from = sink.offset;
    await fetchSpan(task, sink, { end: nextEnd(), answered });
    const rate = ((sink.offset - from) * 1000) / (performance.now() - began);
    if (refused || rate >= enough) return;
    start();
    for (let part = ahead.shift(); part !== undefined; part = ahead.shift()) {
      start();
      for await (const chunk of part.read()) {
        await sink.write(chunk);
        options.onProgress?.(sink.offset);
      }
      spare.push(part.buffer);
    }
  } catch (error) {
    options.signal.throwIfAborted();
    const code = error instanceof DrayError ? error.code : undefined;
    if (code === 'REGISTRY_PROTOCOL' || code === 'RATE_LIMITED') {
      source.ranges?.refused(reference.registry);
    }
    // After a limit was met, no request more.
    if (code !== 'REGISTRY_PROTOCOL') throw error;
  }
}

/** A signal that aborts with another one, and at the end. */
function disposableStop(signal: AbortSignal): Disposable & { signal: AbortSignal } {
  const stop = new AbortController();
  return {
    signal: AbortSignal.any([signal, stop.signal]),
    [Symbol.dispose]: () => stop.abort(),
  };
}

/** Brings bytes into a sink up to the end of a span, over as many connections as it takes, one after the other. */
async function fetchSpan(task: Task, sink: BlobSink, span: Span): Promise<void> {
  const { signal, tries = 5, backoffMs = 250 } = task.options;
  // A connection counts as fruitful when it brings more than a drop: a trickle of broken ones ends some time.
  const worthwhile = Math.min(64 * 1024, Math.ceil(task.descriptor.size / 16));
  let reached = sink.offset;
  let fruitless = 0;
  while (sink.offset < span.end) {
    signal.throwIfAborted();
    try {
      // A mirror whose connections keep breaking is passed over: the registry itself has the blob, too.
      const mirrors = fruitless < mirrorTries && (task.options.mirrors ?? true);
      await transfer(task, sink, { ...span, mirrors });
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

async function transfer(task: Task, sink: BlobSink, span: Span): Promise<void> {
  const { source, reference, descriptor, options } = task;
  const { size, digest } = descriptor;
  using watch = new RateWatch(
    options.minRate ?? defaultMinRate,
    `${reference.registry} sends ${digest}`,
  );
  const signal = AbortSignal.any([options.signal, watch.signal]);
  const { credential } = options;
  const { mirrors } = span;
  const partly = span.end < size || span.answered !== undefined;
  using blob = await source.blob(reference, descriptor, {
    ...{ offset: sink.offset, signal, credential, mirrors },
    ...(partly ? { end: span.end } : {}),
  });
  const { host } = blob.url;
  const end = blob.ranged ? span.end : size;
  span.answered?.(blob.ranged);
  if (blob.offset !== sink.offset) await sink.reset();
  watch.begin();
  await blob.read((chunk) => {
    signal.throwIfAborted();
    watch.received(chunk.length);
    if (sink.offset + chunk.length > end) return tooMuch(sink, host, descriptor);
    const writing = sink.write(chunk);
    if (writing === undefined) {
      options.onProgress?.(sink.offset);
      return undefined;
    }
    return watch.pausedFor(writing.then(() => options.onProgress?.(sink.offset)));
  });
  if (sink.offset < end) {
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

async function tooMuch(sink: BlobSink, host: string, { size, digest }: Descriptor): Promise<void> {
  await sink.reset();
  throw new DrayError('SIZE_MISMATCH', `${host} sends more than the ${size} bytes of ${digest}`, {
    context: { host, digest },
    hint: 'The image or the registry is broken. Push the image again.',
  });
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
