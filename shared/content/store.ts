import type { DesiredSet } from '../desired/desired-set.ts';
import type { DrayError } from '../errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { AccessRecord } from '../registry/access.ts';

/** What the store knows of a blob that it holds. */
export interface ContentInfo {
  digest: Digest;
  /** Bytes. */
  size: number;
  createdAt: Date;
}

export interface CallOptions {
  signal?: AbortSignal;
}

export interface ReadOptions extends CallOptions {
  /** First byte; default 0. */
  offset?: number;
  /** Bytes to read; default up to the end. */
  length?: number;
}

/** A write that is not visible yet. Whoever disposes an ingest that was not committed leaves its bytes for a later one to resume. */
export interface Ingest extends AsyncDisposable {
  /** Bytes that are in the ingest already and were hashed: where the next {@link write} goes on. */
  readonly offset: number;
  /**
   * Appends a chunk. The promise, where there is one, resolves when the caller may go on (back pressure) and do what
   * it likes with the chunk; it rejects with SIZE_MISMATCH past the descriptor's size, STORE_UNAVAILABLE, NO_SPACE.
   */
  write(chunk: Uint8Array): Promise<void> | undefined;
  /** Drops everything that was written, so that the next write starts at 0. */
  reset(options?: CallOptions): Promise<void>;
  /**
   * Verifies size and digest, then publishes at once and durably. A blob that is there already is success.
   * On a mismatch the bytes are dropped and never become readable under the digest.
   * @throws SIZE_MISMATCH, DIGEST_MISMATCH, STORE_UNAVAILABLE
   */
  commit(options?: CallOptions): Promise<'committed' | 'exists'>;
}

export interface IngestOptions extends CallOptions {
  /**
   * For how many milliseconds bytes that the store does not take are kept and offered again, before the ingest fails:
   * dropped, they would have to be fetched once more. Default: 0.
   */
  patientMs?: number;
  /** Told why, when that begins; undefined when the store takes them again. */
  waiting?: (why: DrayError | undefined) => void;
}

/** An ingest as others see it: a transfer in flight, or what a dead worker left. */
export interface IngestInfo {
  digest: Digest;
  /** Bytes that are stored. */
  offset: number;
  /** The descriptor's size. */
  size: number;
  updatedAt: Date;
}

/**
 * Blobs by digest. A blob can be read under its digest only after its size and digest were verified;
 * a crash, a cut or a lie leaves nothing readable.
 */
export interface ContentStore {
  /** What is known of a blob, or undefined when the store does not hold it. */
  info(digest: Digest, options?: CallOptions): Promise<ContentInfo | undefined>;
  /** The bytes of a blob in order. @throws NOT_FOUND, STORE_UNAVAILABLE */
  read(digest: Digest, options?: ReadOptions): AsyncIterable<Uint8Array>;
  /**
   * Opens an ingest for a blob; resumes the longest one that a dead or failed writer left
   * (its bytes are read back and hashed: never trusted).
   */
  ingest(descriptor: Descriptor, options?: IngestOptions): Promise<Ingest>;
  /**
   * The bytes of a blob while it is on its way in: from the blob if it is there, else from the ingest that
   * grows, waiting for more. The bytes are NOT verified before the blob is committed, so that whoever
   * publishes anything made from them must verify it by itself. The iteration ends only once the blob is committed.
   * A chunk is good until the next one is asked for.
   * `advanced` wakes the reader (a hint; without it the store is polled).
   * Does not end by itself while nothing comes: the caller's signal does.
   */
  follow(
    descriptor: Descriptor,
    options?: CallOptions & { offset?: number; advanced?: EventTarget },
  ): AsyncIterable<Uint8Array>;
  /**
   * As {@link follow}, where the store is a folder of this machine: says where the bytes stand instead of reading them.
   * A range may be read until the next one is asked for; a file that was cut meanwhile has fewer bytes.
   */
  followFile?(
    descriptor: Descriptor,
    options?: CallOptions & { offset?: number; advanced?: EventTarget },
  ): AsyncIterable<FileRange>;
  /** All blobs. */
  list(options?: CallOptions): AsyncIterable<ContentInfo>;
  /** Transfers in flight and what was left of broken ones. */
  ingests(options?: CallOptions): AsyncIterable<IngestInfo>;
  /**
   * The file that holds a blob once it is committed, where the store is a folder of this machine: the fast way
   * for whoever reads it whole. The file is read only, and says nothing about whether the blob is there.
   */
  pathOf?(digest: Digest): string;
  /** Removes a blob. What is not there is success. */
  remove(digest: Digest, options?: CallOptions): Promise<void>;
  /**
   * Reads a blob whole and compares it with its digest. A wrong one is set aside, unless `readOnly`: it can't be read
   * under the digest any more, and another one can be ingested. Bytes that are wrong only on their way here are read
   * again.
   * @throws STORE_UNAVAILABLE
   */
  verify(digest: Digest, options?: VerifyOptions): Promise<Verdict>;
  /**
   * Removes what writers left, and what was set aside, that nobody has touched for `olderThanMs`.
   * @returns what was removed, or would be with `dryRun`
   */
  sweep(options: SweepOptions): Promise<Leftover[]>;
}

/** Bytes of a file that is open. */
export interface FileRange {
  /** Its descriptor, which any thread of this process may read. */
  fd: number;
  position: number;
  length: number;
}

export type Verdict = 'right' | 'missing' | 'wrong';

export interface VerifyOptions extends CallOptions {
  /** Only looks: what is wrong stays where it is. */
  readOnly?: boolean;
}

export interface SweepOptions extends CallOptions {
  olderThanMs: number;
  dryRun?: boolean;
}

/** Something in the store that is no blob, and that nobody needs. */
export interface Leftover {
  /** `ingest`: bytes of a writer that is gone. `upload`: a multipart upload that nobody completes. `set aside`: a wrong blob. `file`: one that was being written. */
  kind: 'ingest' | 'upload' | 'set aside' | 'file';
  /** A digest, or a file's name. */
  name: string;
  /** Bytes, where that is known. */
  bytes: number;
  touchedAt: Date;
}

/** A name for an index or manifest in the content store. */
export interface ImageRecord {
  /** The full reference: `host/repository:tag`, or `host/repository@digest`. */
  name: string;
  target: Descriptor;
  /** The manifest that was selected and whose content is in the store whole, when target is an index. */
  manifest: Descriptor;
  /** When the registry, or a person, said so last. */
  updatedAt: Date;
  /** When it was pulled last, from wherever. */
  pulledAt?: Date;
  /** The repository that it came from, `host/repository`, where the name is of another one: who may have that may have this. */
  origin?: string;
}

/** Records by name. They stand in the same place as the content, so that they outlive Redis. */
export interface RecordStore<T> {
  list(options?: CallOptions): Promise<T[]>;
  get(name: string, options?: CallOptions): Promise<T | undefined>;
  /** Creates a record or replaces it, at once. */
  put(record: T, options?: CallOptions): Promise<void>;
  /** Whether there was such a record. */
  remove(name: string, options?: CallOptions): Promise<boolean>;
}

/** Records that are changed by several at once, none of whom may undo what another did. */
export interface ChangingRecords<T> extends RecordStore<T> {
  /**
   * Changes a record in one step: what others put or removed until then is what `change` is given, which may be called
   * several times. What it returns stands there from then on; the same record, or undefined, leaves what is there.
   * @returns whether something was written
   */
  update(
    name: string,
    change: (record: T | undefined) => T | undefined,
    options?: CallOptions,
  ): Promise<boolean>;
}

type Named = Omit<ImageRecord, 'updatedAt'> & { updatedAt?: Date | undefined };

/** The names of images. A name that is put again is moved; default for `updatedAt`: now. */
export interface ImageStore extends Omit<RecordStore<ImageRecord>, 'put'> {
  put(record: Named, options?: CallOptions): Promise<void>;
}

/** One place of storage: a folder on a single machine, or a bucket. */
export interface Store extends AsyncDisposable {
  content: ContentStore;
  images: ImageStore;
  /** What nodes shall hold. */
  desired: ChangingRecords<DesiredSet>;
  /** By `host/repository`. */
  access: RecordStore<AccessRecord>;
  /** For people: `folder /var/lib/…`, `s3 bucket/prefix at https://…`. */
  describe(): string;
}
