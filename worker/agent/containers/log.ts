import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OutputChunk, OutputStream } from '../../../shared/agent/containers.ts';
import { findStart, type LogStart } from './log-start.ts';

const readBytes = 256 * 1024;
/** Milliseconds after which a log is looked at again, should its file system not tell of changes. */
const pollInterval = 250;

export interface ReadLogOptions extends LogStart {
  /** Puts the time, in UTC, in front of each line. */
  timestamps?: boolean;
  /** Waits for more until {@link hasEnded}; otherwise the end is where the log ends now. */
  follow?: boolean;
  /** Whether nothing will be written any more. Asked before each look at the file. */
  hasEnded?: () => boolean;
  /** Wakes a reader that follows: an abort or an event is as good as a change of the file. */
  changed?: EventTarget;
  signal?: AbortSignal;
}

/** A log that is open until it was read or is disposed: it may be removed now. */
export interface OpenedLog extends AsyncDisposable {
  /** The byte where it is read from: another reader that begins there gets the same. */
  from: number;
  output: AsyncGenerator<OutputChunk>;
}

/**
 * The exact bytes that a container wrote, in order, from its log in the k8s-file form: lines of
 * `TIME STREAM TAG CONTENT`, where tag P says that CONTENT was not ended by a newline.
 */
export async function openLog(path: string, options: ReadLogOptions = {}): Promise<OpenedLog> {
  options.signal?.throwIfAborted();
  const file = await open(path, 'r');
  try {
    const from = await findStart(file, options);
    return {
      from,
      output: readLog(file, path, from, options),
      [Symbol.asyncDispose]: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function* readLog(
  opened: FileHandle,
  path: string,
  from: number,
  options: ReadLogOptions,
): AsyncGenerator<OutputChunk> {
  const { follow = false, hasEnded = () => true, signal } = options;
  await using file = opened;
  using bell = follow ? new Bell(path, options.changed) : undefined;
  const parser = new LogParser(options.timestamps ?? false);
  let at = from;
  for (;;) {
    signal?.throwIfAborted();
    const wasEnded = hasEnded();
    for await (const bytes of readOn(file, at)) {
      at += bytes.length;
      yield* parser.push(bytes);
    }
    if (!follow || wasEnded) break;
    if (!hasEnded()) await bell?.rung(signal);
  }
  yield* parser.end();
}

async function* readOn(file: FileHandle, from: number): AsyncGenerator<Buffer> {
  for (let at = from; ; ) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(readBytes), 0, readBytes, at);
    if (bytesRead === 0) return;
    at += bytesRead;
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
  readonly #timestamps: boolean;
  /** Whether the last record of a stream left its line open. */
  readonly #isOpen = { stdout: false, stderr: false };
  #rest: Buffer = Buffer.alloc(0);

  constructor(timestamps: boolean) {
    this.#timestamps = timestamps;
  }

  /** Chunks of the whole lines so far; what follows each other on one stream comes as one. */
  *push(bytes: Buffer): Generator<OutputChunk> {
    const text = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const records: OutputChunk[] = [];
    let start = 0;
    for (let end = text.indexOf(newline); end !== -1; end = text.indexOf(newline, start)) {
      const record = this.#parse(text.subarray(start, end + 1));
      if (record !== undefined) records.push(record);
      start = end + 1;
    }
    this.#rest = text.subarray(start);
    yield* merge(records);
  }

  /** What a monitor that died in the middle of a line left. */
  *end(): Generator<OutputChunk> {
    const record = this.#rest.length === 0 ? undefined : this.#parse(this.#rest);
    if (record !== undefined && record.bytes.length > 0) yield record;
  }

  #parse(line: Buffer): OutputChunk | undefined {
    const record = parseRecord(line);
    if (record === undefined || !this.#timestamps) return record;
    const { stream, time, isPartial, bytes } = record;
    const wasOpen = this.#isOpen[stream];
    this.#isOpen[stream] = isPartial;
    return {
      stream,
      bytes: wasOpen ? bytes : Buffer.concat([Buffer.from(`${utc(time)} `), bytes]),
    };
  }
}

/** A record's time, which has the offset of the node's zone and nanoseconds, in UTC. */
function utc(time: string): string {
  const [, fraction = ''] = /\.(\d+)/.exec(time) ?? [];
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  return `${date.toISOString().slice(0, 19)}.${fraction.padEnd(9, '0')}Z`;
}

interface LogRecord extends OutputChunk {
  time: string;
  isPartial: boolean;
}

function parseRecord(line: Buffer): LogRecord | undefined {
  const afterTime = line.indexOf(space);
  const afterStream = line.indexOf(space, afterTime + 1);
  const afterTag = line.indexOf(space, afterStream + 1);
  if (afterTime === -1 || afterStream === -1 || afterTag === -1) return undefined;
  const stream = line.toString('latin1', afterTime + 1, afterStream);
  if (!isStream(stream)) return undefined;
  const isPartial = line[afterStream + 1] === 'P'.charCodeAt(0);
  const end = isPartial && line.at(-1) === newline ? line.length - 1 : line.length;
  const time = line.toString('latin1', 0, afterTime);
  return { stream, time, isPartial, bytes: line.subarray(afterTag + 1, end) };
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
