import { DrayError } from '../../errors.ts';
import { forEachAtMost } from '../../for-each-at-most.ts';
import type { Digest } from '../../image/digest.ts';
import type {
  CallOptions,
  ContentInfo,
  ContentStore,
  IngestInfo,
  Leftover,
  ReadOptions,
  SweepOptions,
  Verdict,
  VerifyOptions,
} from '../store.ts';
import { hasDigest } from '../verify.ts';
import type { Bucket } from './bucket.ts';
import { followInBucket } from './follow.ts';
import { openS3Ingest } from './ingest.ts';
import type { Keys } from './keys.ts';
import { chainOf, type FoundPart, listParts } from './parts.ts';
import { readObject } from './read.ts';

/** Blobs as objects of a bucket. */
export function s3Content(bucket: Bucket, keys: Keys, partSize: number): ContentStore {
  return {
    async info(digest, options = {}) {
      const found = await bucket.head(keys.blob(digest), options);
      if (found === undefined) return undefined;
      return { digest, size: found.size, createdAt: found.modifiedAt };
    },
    read: (digest, options = {}) => readBlob(bucket, keys, digest, options),
    ingest: (descriptor, options = {}) =>
      openS3Ingest(bucket, keys, descriptor, { ...options, partSize }),
    follow: (descriptor, options = {}) => followInBucket(bucket, keys, descriptor, options),
    list: (options = {}) => listBlobs(bucket, keys, options),
    ingests: (options = {}) => listIngests(bucket, keys, options),
    remove: (digest, options = {}) => bucket.remove(keys.blob(digest), options),
    verify: (digest, options = {}) => verify(bucket, keys, digest, options),
    sweep: (options) => sweep(bucket, keys, options),
  };
}

async function* readBlob(
  bucket: Bucket,
  keys: Keys,
  digest: Digest,
  options: ReadOptions,
): AsyncIterable<Uint8Array> {
  try {
    yield* readObject(bucket, keys.blob(digest), options);
  } catch (error) {
    if (!(error instanceof DrayError) || error.code !== 'NOT_FOUND') throw error;
    throw new DrayError('NOT_FOUND', `The content store ${bucket.place} has no blob ${digest}`, {
      cause: error,
      hint: 'Pull the image that it belongs to.',
      context: { digest },
    });
  }
}

async function* listBlobs(
  bucket: Bucket,
  keys: Keys,
  options: CallOptions,
): AsyncIterable<ContentInfo> {
  for await (const { key, size, modifiedAt } of bucket.list(keys.blobs, options)) {
    const digest = keys.digestOfBlob(key);
    if (digest !== undefined) yield { digest, size, createdAt: modifiedAt };
  }
}

/** Writers go on after each other's parts, so that a blob has one ingest, whoever writes it. */
async function* listIngests(
  bucket: Bucket,
  keys: Keys,
  options: CallOptions,
): AsyncIterable<IngestInfo> {
  for await (const [digest, parts] of partsByBlob(bucket, keys, options)) {
    const last = chainOf(parts).at(-1);
    const size = parts[0]?.blobSize ?? 0;
    const offset = last === undefined ? 0 : last.offset + last.size;
    yield { digest, offset, size, updatedAt: newest(parts) };
  }
}

/** The parts of each blob; listings come in the order of the keys, and so blob by blob. */
async function* partsByBlob(
  bucket: Bucket,
  keys: Keys,
  options: CallOptions,
): AsyncIterable<[Digest, FoundPart[]]> {
  let parts: FoundPart[] = [];
  for await (const part of listParts(bucket, keys, keys.ingests, options)) {
    const digest = parts[0]?.digest;
    if (digest !== undefined && digest !== part.digest) {
      yield [digest, parts];
      parts = [];
    }
    parts.push(part);
  }
  const digest = parts[0]?.digest;
  if (digest !== undefined) yield [digest, parts];
}

async function verify(
  bucket: Bucket,
  keys: Keys,
  digest: Digest,
  { readOnly = false, ...options }: VerifyOptions,
): Promise<Verdict> {
  const key = keys.blob(digest);
  for (;;) {
    const found = await bucket.head(key, options);
    if (found === undefined) return 'missing';
    const { etag } = found;
    try {
      if (await hasDigest(digest, () => readObject(bucket, key, { ...options, etag }))) {
        return 'right';
      }
      if (readOnly) return 'wrong';
      // One that is too large for a copy is not kept.
      await bucket.copy(found, keys.wrong(digest), options).catch((error: unknown) => {
        if (!(error instanceof DrayError) || error.retryable || isReplaced(error)) throw error;
      });
      await bucket.remove(key, { ...options, etag });
      return 'wrong';
    } catch (error) {
      // Another object is there by now, or none.
      if (!isReplaced(error)) throw error;
    }
  }
}

function isReplaced(error: unknown): boolean {
  return error instanceof DrayError && (error.code === 'NOT_FOUND' || error.context.status === 412);
}

/** In an order in which a blob's parts are known before the uploads that they may be in. */
async function sweep(
  bucket: Bucket,
  keys: Keys,
  { olderThanMs, dryRun = false, signal }: SweepOptions,
): Promise<Leftover[]> {
  const options = signal === undefined ? {} : { signal };
  const before = Date.now() - olderThanMs;
  const swept: Leftover[] = [];
  const alive = new Set<Digest>();
  for await (const [digest, parts] of partsByBlob(bucket, keys, options)) {
    const touchedAt = newest(parts);
    // A writer may be using the parts of one long dead: they are as old as the newest of all.
    if (touchedAt.getTime() > before) {
      alive.add(digest);
      continue;
    }
    const bytes = parts.reduce((sum, { size }) => sum + size, 0);
    swept.push({ kind: 'ingest', name: digest, bytes, touchedAt });
    if (!dryRun) await forEachAtMost(8, parts, ({ key }) => bucket.remove(key, options));
  }
  for await (const upload of bucket.uploads.list(keys.blobs, options)) {
    const digest = keys.digestOfBlob(upload.key);
    if (digest === undefined || alive.has(digest) || upload.begunAt.getTime() > before) continue;
    swept.push({ kind: 'upload', name: digest, bytes: 0, touchedAt: upload.begunAt });
    if (!dryRun) await bucket.uploads.abort(upload, options);
  }
  for await (const { key, size, modifiedAt } of bucket.list(keys.setAside, options)) {
    const name = keys.digestOfWrong(key);
    if (name === undefined || modifiedAt.getTime() > before) continue;
    swept.push({ kind: 'set aside', name, bytes: size, touchedAt: modifiedAt });
    if (!dryRun) await bucket.remove(key, options);
  }
  return swept;
}

function newest(parts: FoundPart[]): Date {
  return new Date(Math.max(...parts.map((part) => part.modifiedAt.getTime())));
}
