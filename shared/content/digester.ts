import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { DrayError } from '../errors.ts';
import type { DigestAlgorithm } from '../image/digest.ts';

/** Bytes below which a thread would cost more than it brings. */
const smallBlob = 1 << 20;
/** Threads at most: each keeps up with about 700 MB a second. */
const mostThreads = Math.min(4, Math.max(1, availableParallelism() - 1));

/** What a thread is asked; it answers each request, in their order. */
export interface DigestRequest {
  id: number;
  algorithm: DigestAlgorithm;
  /** In shared memory. */
  bytes?: Uint8Array;
  /** Where they are written before they are digested. */
  file?: { descriptor: number; position: number };
  end?: 'digest' | 'drop';
}

export interface DigestReply {
  hex?: string;
  /** A failed system call. */
  failure?: { message: string; code: string };
}

/** Digests bytes that come piece by piece, and may write them to a file on their way. */
export interface Digester {
  /**
   * Takes the next bytes, which must be in shared memory and not be changed before this resolves. Need not be waited
   * for before the next call. After one that failed, all fail.
   * @param file where they are written first
   */
  update(bytes: Uint8Array, file?: { handle: FileHandle; position: number }): Promise<void>;
  /** The digest in hex of everything that was taken so far. */
  digest(): Promise<string>;
  /** It is not needed any more. */
  close(): void;
}

/** A digester for a blob of `size` bytes: on a thread beside this one, unless the blob is small. */
export function createDigester(algorithm: DigestAlgorithm, size: number): Digester {
  return size < smallBlob ? new OwnDigester(algorithm) : new ThreadDigester(algorithm);
}

class OwnDigester implements Digester {
  readonly #hash;
  /** One after the other. */
  #last: Promise<void> = Promise.resolve();

  constructor(algorithm: DigestAlgorithm) {
    this.#hash = createHash(algorithm);
  }

  update(bytes: Uint8Array, file?: { handle: FileHandle; position: number }): Promise<void> {
    this.#last = this.#last.then(async () => {
      for (let done = 0; file !== undefined && done < bytes.length; ) {
        const { handle, position } = file;
        const length = bytes.length - done;
        done += (await handle.write(bytes, done, length, position + done)).bytesWritten;
      }
      this.#hash.update(bytes);
    });
    return this.#last;
  }

  async digest(): Promise<string> {
    await this.#last;
    return this.#hash.copy().digest('hex');
  }

  close(): void {}
}

let lastId = 0;

class ThreadDigester implements Digester {
  readonly #id = ++lastId;
  readonly #algorithm: DigestAlgorithm;
  #thread: DigestThread | undefined;

  constructor(algorithm: DigestAlgorithm) {
    this.#algorithm = algorithm;
  }

  async update(bytes: Uint8Array, file?: { handle: FileHandle; position: number }): Promise<void> {
    await this.#ask({
      bytes,
      ...(file && { file: { descriptor: file.handle.fd, position: file.position } }),
    });
  }

  async digest(): Promise<string> {
    return (await this.#ask({ end: 'digest' })).hex ?? '';
  }

  close(): void {
    if (this.#thread === undefined) return;
    this.#thread.digesters--;
    // A thread that is gone has nothing to drop.
    this.#ask({ end: 'drop' }).catch(() => {});
    this.#thread = undefined;
  }

  async #ask(request: Omit<DigestRequest, 'id' | 'algorithm'>): Promise<DigestReply> {
    this.#thread ??= acquireThread();
    const reply = await this.#thread.ask({
      ...{ id: this.#id, algorithm: this.#algorithm },
      ...request,
    });
    if (reply.failure === undefined) return reply;
    const { message, code } = reply.failure;
    throw Object.assign(new Error(message), { code });
  }
}

/** Keeps the process alive only while somebody waits for it. */
class DigestThread {
  /** That use it. */
  digesters = 0;
  readonly #worker: Worker;
  #waiting: { resolve: (reply: DigestReply) => void; reject: (error: unknown) => void }[] = [];
  #lost: DrayError | undefined;

  constructor() {
    this.#worker = new Worker(new URL('./digest-thread.ts', import.meta.url), {
      name: 'digest',
      execArgv: [],
      // The descriptors are the files' who ask.
      trackUnmanagedFds: false,
    });
    this.#worker.unref();
    this.#worker.on('message', (reply: DigestReply) => {
      this.#waiting.shift()?.resolve(reply);
      if (this.#waiting.length === 0) this.#worker.unref();
    });
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(undefined));
  }

  ask(request: DigestRequest): Promise<DigestReply> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    const { promise, resolve, reject } = Promise.withResolvers<DigestReply>();
    if (this.#waiting.length === 0) this.#worker.ref();
    this.#waiting.push({ resolve, reject });
    this.#worker.postMessage(request);
    return promise;
  }

  #fail(cause: unknown): void {
    threads.delete(this);
    this.#lost ??= new DrayError('INTERNAL', 'A thread that computes digests has ended', {
      cause,
      retryable: true,
      hint: 'The next attempt has a new one.',
    });
    for (const { reject } of this.#waiting) reject(this.#lost);
    this.#waiting = [];
  }
}

/** Those of the process; for all of its blobs. */
const threads = new Set<DigestThread>();

/** The one with the fewest digesters; a new one while all are in use. */
function acquireThread(): DigestThread {
  let [found] = [...threads].sort((a, b) => a.digesters - b.digesters);
  if (found === undefined || (found.digesters > 0 && threads.size < mostThreads)) {
    found = new DigestThread();
    threads.add(found);
  }
  found.digesters++;
  return found;
}
