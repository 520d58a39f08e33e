import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { DrayError } from '../errors.ts';
import type { DigestAlgorithm } from '../image/digest.ts';

/** Bytes below which a thread would cost more than it brings. */
const smallBlob = 1 << 20;

/** What a thread is asked; it answers each request, in their order. */
export interface DigestRequest {
  id: number;
  algorithm: DigestAlgorithm;
  /** In shared memory. */
  bytes?: Uint8Array;
  end?: 'digest' | 'drop';
}

export interface DigestReply {
  hex?: string;
}

/** Digests bytes that come piece by piece. */
export interface Digester {
  /** Takes the next bytes, which must be in shared memory and not be changed before this resolves. */
  update(bytes: Uint8Array): Promise<void>;
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

  constructor(algorithm: DigestAlgorithm) {
    this.#hash = createHash(algorithm);
  }

  async update(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
  }

  async digest(): Promise<string> {
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

  async update(bytes: Uint8Array): Promise<void> {
    await this.#ask({ bytes });
  }

  async digest(): Promise<string> {
    return (await this.#ask({ end: 'digest' })).hex ?? '';
  }

  close(): void {
    if (this.#thread === undefined) return;
    // A thread that is gone has nothing to drop.
    this.#ask({ end: 'drop' }).catch(() => {});
  }

  #ask(request: Pick<DigestRequest, 'bytes' | 'end'>): Promise<DigestReply> {
    this.#thread ??= sharedThread ??= new DigestThread();
    return this.#thread.ask({ id: this.#id, algorithm: this.#algorithm, ...request });
  }
}

/** The one for all blobs of the process: it digests faster than one process fetches. It keeps the process alive only while somebody waits for it. */
class DigestThread {
  readonly #worker: Worker;
  #waiting: { resolve: (reply: DigestReply) => void; reject: (error: unknown) => void }[] = [];
  #lost: DrayError | undefined;

  constructor() {
    this.#worker = new Worker(new URL('./digest-thread.ts', import.meta.url), {
      name: 'digest',
      execArgv: [],
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
    if (sharedThread === this) sharedThread = undefined;
    this.#lost ??= new DrayError('INTERNAL', 'A thread that computes digests has ended', {
      cause,
      retryable: true,
      hint: 'The next attempt has a new one.',
    });
    for (const { reject } of this.#waiting) reject(this.#lost);
    this.#waiting = [];
  }
}

let sharedThread: DigestThread | undefined;
