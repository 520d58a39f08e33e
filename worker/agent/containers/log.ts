import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OutputChunk, OutputStream } from '../../../shared/agent/containers.ts';

const readBytes = 256 * 1024;
/** Milliseconds after which a log is looked at again, should its file system not tell of changes. */
const pollInterval = 250;

export interface ReadLogOptions {
  /** Waits for more until {@link hasEnded}; otherwise the end is where the log ends now. */
  follow?: boolean;
  /** Whether nothing will be written any more. Asked before each look at the file. */
  hasEnded?: () => boolean;
  /** Wakes a reader that follows: an abort or an event is as good as a change of the file. */
  changed?: EventTarget;
  signal?: AbortSignal;
}

/**
 * The exact bytes that a container wrote, in order, from its log in the k8s-file form: lines of
 * `TIME STREAM TAG CONTENT`, where tag P says that CONTENT was not ended by a newline.
 * The file is open when this resolves, and may be removed then; the caller iterates to the end or returns.
 */
export async function openLog(
  path: string,
  options: ReadLogOptions = {},
): Promise<AsyncGenerator<OutputChunk>> {
  options.signal?.throwIfAborted();
  return readLog(await open(path, 'r'), path, options);
}

async function* readLog(
  opened: FileHandle,
  path: string,
  options: ReadLogOptions,
): AsyncGenerator<OutputChunk> {
  const { follow = false, hasEnded = () => true, signal } = options;
  await using file = opened;
  using bell = follow ? new Bell(path, options.changed) : undefined;
  const parser = new LogParser();
  for (;;) {
    signal?.throwIfAborted();
    const wasEnded = hasEnded();
    for await (const bytes of readOn(file)) yield* parser.push(bytes);
    if (!follow || wasEnded) break;
    if (!hasEnded()) await bell?.rung(signal);
  }
  yield* parser.end();
}

async function* readOn(file: FileHandle): AsyncGenerator<Buffer> {
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(readBytes), 0, readBytes);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Rings when a file may have changed, and now and then. */
class Bell implements Disposable {
  readonly #watcher: FSWatcher | undefined;
  readonly #others: EventTarget | undefined;
  #wake = new AbortController();
  readonly #ring = () => this.#wake.abort();

  constructor(path: string, others: EventTarget | undefined) {
    this.#others = others;
    others?.addEventListener('change', this.#ring);
    try {
      this.#watcher = watch(path, this.#ring);
      this.#watcher.on('error', () => {});
    } catch {
      // Out of watches: the polling is enough.
    }
  }

  async rung(signal: AbortSignal | undefined): Promise<void> {
    const wake = this.#wake.signal;
    const any = signal === undefined ? wake : AbortSignal.any([wake, signal]);
    await sleep(pollInterval, undefined, { signal: any }).catch(() => {});
    if (wake.aborted) this.#wake = new AbortController();
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
    this.#others?.removeEventListener('change', this.#ring);
  }
}

const newline = 0x0a;
const space = 0x20;

/** Takes the lines of a log apart, wherever the reads cut them. */
class LogParser {
  #rest: Buffer = Buffer.alloc(0);

  /** Chunks of the whole lines so far; what follows each other on one stream comes as one. */
  *push(bytes: Buffer): Generator<OutputChunk> {
    const text = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const records: OutputChunk[] = [];
    let start = 0;
    for (let end = text.indexOf(newline); end !== -1; end = text.indexOf(newline, start)) {
      const record = parseRecord(text.subarray(start, end + 1));
      if (record !== undefined) records.push(record);
      start = end + 1;
    }
    this.#rest = text.subarray(start);
    yield* merge(records);
  }

  /** What a monitor that died in the middle of a line left. */
  *end(): Generator<OutputChunk> {
    const record = this.#rest.length === 0 ? undefined : parseRecord(this.#rest);
    if (record !== undefined && record.bytes.length > 0) yield record;
  }
}

function parseRecord(line: Buffer): OutputChunk | undefined {
  const afterTime = line.indexOf(space);
  const afterStream = line.indexOf(space, afterTime + 1);
  const afterTag = line.indexOf(space, afterStream + 1);
  if (afterTime === -1 || afterStream === -1 || afterTag === -1) return undefined;
  const stream = line.toString('latin1', afterTime + 1, afterStream);
  if (!isStream(stream)) return undefined;
  const isPartial = line[afterStream + 1] === 'P'.charCodeAt(0);
  const end = isPartial && line.at(-1) === newline ? line.length - 1 : line.length;
  return { stream, bytes: line.subarray(afterTag + 1, end) };
}

function isStream(text: string): text is OutputStream {
  return text === 'stdout' || text === 'stderr';
}

function* merge(records: readonly OutputChunk[]): Generator<OutputChunk> {
  let pieces: Uint8Array[] = [];
  let stream: OutputStream | undefined;
  for (const record of records) {
    if (stream !== undefined && record.stream !== stream) {
      yield { stream, bytes: Buffer.concat(pieces) };
      pieces = [];
    }
    stream = record.stream;
    pieces.push(record.bytes);
  }
  if (stream !== undefined) yield { stream, bytes: Buffer.concat(pieces) };
}
