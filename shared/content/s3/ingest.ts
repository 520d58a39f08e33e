import { createHash, type Hash } from 'node:crypto';
import { DrayError } from '../../errors.ts';
import { forEachAtMost } from '../../for-each-at-most.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import { splitDigest } from '../../image/digest.ts';
import { mismatchOf, sizeMismatch } from '../blob.ts';
import type { CallOptions, Ingest, IngestOptions } from '../store.ts';
import { Assembly, smallestPart } from './assemble.ts';
import type { Bucket } from './bucket.ts';
import { type Keys, offsetKey } from './keys.ts';
import { chainOf, type FoundPart, listParts, type Part } from './parts.ts';
import { patiently } from './patience.ts';
import { readObject } from './read.ts';

/** Parts of one ingest that are on their way to the bucket while the next one fills. */
const partsInFlight = 2;
/** S3's limit, less a few that a resumed ingest may have made smaller. */
const mostParts = 9_000;
/** Milliseconds that cleaning up may take, whatever the caller's signal says. */
const cleanUpTime = 10_000;

/** Opens an ingest, and goes on after the parts that other writers left (or store right now). */
export async function openS3Ingest(
  bucket: Bucket,
  keys: Keys,
  descriptor: Descriptor,
  options: IngestOptions & { partSize: number },
): Promise<Ingest> {
  const { signal } = options;
  const call = signal === undefined ? {} : { signal };
  const found: FoundPart[] = [];
  for await (const part of listParts(bucket, keys, keys.ingest(descriptor.digest), call)) {
    if (part.offset + part.size <= descriptor.size) found.push(part);
  }
  const ingest = new S3Ingest(bucket, keys, descriptor, options);
  for (const part of chainOf(found)) {
    if (!(await ingest.takeOver(part))) break;
  }
  return ingest;
}

class S3Ingest implements Ingest {
  readonly #bucket: Bucket;
  readonly #keys: Keys;
  readonly #descriptor: Descriptor;
  readonly #partSize: number;
  readonly #signal: AbortSignal | undefined;
  readonly #aborted: Promise<void>;
  readonly #patience: Omit<IngestOptions, 'signal'>;
  readonly #writer: string;
  /** Ends transfers in the background when the disposal has waited long enough. */
  readonly #background = new AbortController();
  #hash: Hash;
  /** In the order of their bytes; those on their way are among them. */
  #parts: Omit<Part, 'etag'>[] = [];
  #assembly: Assembly;
  #inFlight = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;
  /** The part that fills. */
  #buffer: Buffer | undefined;
  #filled = 0;
  #spare: Buffer[] = [];
  #offset = 0;
  #open = true;

  constructor(
    bucket: Bucket,
    keys: Keys,
    descriptor: Descriptor,
    { partSize, signal, ...patience }: IngestOptions & { partSize: number },
  ) {
    this.#bucket = bucket;
    this.#keys = keys;
    this.#descriptor = descriptor;
    this.#partSize = Math.max(partSize, smallestPart, Math.ceil(descriptor.size / mostParts));
    this.#signal = signal;
    this.#aborted = abortOf(signal);
    this.#patience = patience;
    this.#writer = keys.writer(descriptor.digest, descriptor.size);
    this.#assembly = new Assembly(bucket, keys.blob(descriptor.digest));
    this.#hash = this.#newHash();
  }

  get offset(): number {
    return this.#offset;
  }

  /**
   * Reads back what another writer stored and goes on after it. Too small a part is kept in memory, to become
   * the beginning of a larger one.
   * @returns whether the next part may follow
   */
  async takeOver(part: Part): Promise<boolean> {
    const end = part.offset + part.size;
    const keep = this.#isSmall() || (part.size < smallestPart && end < this.#descriptor.size);
    if (keep && part.size > this.#partSize) return false;
    const options = this.#signal === undefined ? {} : { signal: this.#signal };
    const before = this.#hash.copy();
    try {
      let length = 0;
      for await (const chunk of readObject(this.#bucket, part.key, {
        ...options,
        etag: part.etag,
      })) {
        this.#hash.update(chunk);
        if (keep) this.#fill(chunk);
        length += chunk.length;
      }
      if (length !== part.size) throw sizeMismatch(this.#descriptor, length);
    } catch (error) {
      if (this.#signal?.aborted) throw error;
      // Its writer committed or dropped it meanwhile, or it can't be read: the ingest begins where it is.
      this.#hash = before;
      this.#filled = 0;
      return false;
    }
    this.#offset = end;
    if (!keep) this.#assembly.add(this.#parts.push(part), part);
    return !keep;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#signal?.throwIfAborted();
    this.#requireOpen();
    this.#throwFailure();
    if (chunk.length === 0) return;
    const { size } = this.#descriptor;
    if (this.#offset + chunk.length > size) {
      throw sizeMismatch(this.#descriptor, `more than ${size}`);
    }
    this.#hash.update(chunk);
    for (let rest = chunk; rest.length > 0; ) {
      const taken = this.#fill(rest);
      this.#offset += taken;
      rest = rest.subarray(taken);
      const full = this.#filled === this.#partSize || this.#offset === size;
      if (full && !this.#isSmall()) await this.#storeFilled();
    }
  }

  async reset(options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    this.#requireOpen();
    await Promise.all(this.#inFlight);
    await this.#assembly.abort();
    this.#assembly = new Assembly(this.#bucket, this.#keys.blob(this.#descriptor.digest));
    this.#failure = undefined;
    const parts = this.#parts;
    this.#parts = [];
    this.#filled = 0;
    this.#offset = 0;
    this.#hash = this.#newHash();
    await forEachAtMost(8, parts, ({ key }) => this.#bucket.remove(key, options));
  }

  async commit(options: CallOptions = {}): Promise<'committed' | 'exists'> {
    options.signal?.throwIfAborted();
    this.#requireOpen();
    await Promise.race([Promise.all(this.#inFlight), this.#aborted]);
    this.#signal?.throwIfAborted();
    const hex = this.#hash.copy().digest('hex');
    const mismatch = mismatchOf(this.#descriptor, { bytes: this.#offset, hex });
    if (mismatch !== undefined) {
      await this.reset({ signal: AbortSignal.timeout(cleanUpTime) });
      throw mismatch;
    }
    this.#throwFailure();
    const result = await this.#publish(options);
    this.#open = false;
    this.#spare = [];
    this.#buffer = undefined;
    // Nobody needs any writer's parts any more. What remains of them is swept later.
    await this.#removeParts().catch(() => {});
    return result;
  }

  async #publish(options: CallOptions): Promise<'committed' | 'exists'> {
    const { digest, size } = this.#descriptor;
    const key = this.#keys.blob(digest);
    const patience = { ...this.#patience, ...options };
    const there = await patiently(() => this.#bucket.head(key, options), patience);
    if (there?.size === size) {
      await this.#assembly.abort();
      return 'exists';
    }
    // One of another size was damaged: the verified bytes take its place.
    const ifAbsent = there === undefined;
    if (this.#isSmall()) {
      const bytes = this.#buffer?.subarray(0, this.#filled) ?? Buffer.alloc(0);
      const put = () => this.#bucket.put(key, bytes, { ...options, ifAbsent });
      const etag = await patiently(put, patience);
      return etag === undefined ? 'exists' : 'committed';
    }
    return await this.#assembly.publish(size, { ...options, ifAbsent });
  }

  async #removeParts(): Promise<void> {
    const options = { signal: AbortSignal.timeout(cleanUpTime) };
    const all = this.#bucket.list(this.#keys.ingest(this.#descriptor.digest), options);
    await forEachAtMost(8, all, ({ key }) => this.#bucket.remove(key, options));
    if (this.#isSmall()) return;
    // What a dead writer had begun to put together. One that lives finds the blob there.
    const blob = this.#keys.blob(this.#descriptor.digest);
    for await (const upload of this.#bucket.uploads.list(blob, options)) {
      if (upload.key === blob) await this.#bucket.uploads.abort(upload, options);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    const timer = setTimeout(() => this.#background.abort(), cleanUpTime);
    try {
      // What was not stored yet becomes one more part, for whoever resumes. Its failure costs only these bytes.
      if (this.#failure === undefined && this.#filled > 0) await this.#storeFilled();
      await Promise.all(this.#inFlight);
      await this.#assembly.abort();
    } finally {
      clearTimeout(timer);
      this.#buffer = undefined;
      this.#spare = [];
    }
  }

  /** Whether the blob fits one part: it is put at once at the commit, and has no part objects before. */
  #isSmall(): boolean {
    return this.#descriptor.size <= this.#partSize;
  }

  /** Copies what fits into the part that fills. */
  #fill(chunk: Uint8Array): number {
    const most = Math.min(this.#partSize, this.#descriptor.size);
    this.#buffer ??= this.#spare.pop() ?? Buffer.allocUnsafeSlow(most);
    const taken = Math.min(chunk.length, this.#buffer.length - this.#filled);
    this.#buffer.set(chunk.subarray(0, taken), this.#filled);
    this.#filled += taken;
    return taken;
  }

  /** Sends the part that filled on its way; waits while too many are. */
  async #storeFilled(): Promise<void> {
    while (this.#inFlight.size >= partsInFlight) {
      // Its disposal has a bound of its own.
      const ends = this.#open ? [this.#aborted] : [];
      await Promise.race([...this.#inFlight, ...ends]);
      if (this.#open) this.#signal?.throwIfAborted();
    }
    const buffer = this.#buffer;
    if (buffer === undefined || this.#failure !== undefined) return;
    const size = this.#filled;
    const offset = this.#offset - size;
    const key = `${this.#writer}${offsetKey(offset)}`;
    this.#buffer = undefined;
    this.#filled = 0;
    const number = this.#parts.push({ key, offset, size });
    const { signal } = this.#background;
    const put = () => this.#bucket.put(key, buffer.subarray(0, size), { signal });
    const one: Promise<void> = patiently(put, { ...this.#patience, signal })
      .then((etag = '') => {
        if (this.#open) this.#assembly.add(number, { key, offset, size, etag });
        this.#spare.push(buffer);
      })
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#inFlight.delete(one));
    this.#inFlight.add(one);
  }

  #newHash(): Hash {
    return createHash(splitDigest(this.#descriptor.digest).algorithm);
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #requireOpen(): void {
    if (!this.#open) {
      const { digest } = this.#descriptor;
      throw new DrayError('INTERNAL', `The ingest of ${digest} has been closed already`);
    }
  }
}

/** Resolves when the signal aborts. */
function abortOf(signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal?.aborted) resolve();
  signal?.addEventListener('abort', () => resolve(), { once: true });
  return promise;
}
