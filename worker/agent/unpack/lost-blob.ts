import { setTimeout as sleep } from 'node:timers/promises';
import { DrayError } from '../../../shared/errors.ts';
import { type Digest, isDigest } from '../../../shared/image/digest.ts';
import type { Logger } from '../../../shared/logging.ts';
import type { PullRecords } from '../../../shared/pull/records.ts';
import { lostBlobs } from '../metrics.ts';

type DoubtRecords = Pick<PullRecords, 'note'> & {
  blobs: Pick<PullRecords['blobs'], 'reopen' | 'doubt' | 'isDoubted'>;
};

/** Milliseconds between two looks whether a worker has looked. */
const poll = 200;

/**
 * Has a blob that the store lost, or has wrong, fetched again for a pull, and says so. Resolves once a worker has looked
 * at the blob: a wrong one is then out of the way. (Nodes need no right to change anything in the store.)
 */
export async function refetchBlob(
  { records, log }: { records: DoubtRecords; log: Logger },
  pull: string,
  digest: Digest,
  why: string,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  lostBlobs.inc();
  await records.blobs.doubt(digest);
  log.warn({ digest, pull }, `a blob of the content store ${why}; it is fetched again`);
  await records.blobs.reopen(pull, digest);
  await records.note(pull, `the content store's ${digest} ${why}: it is fetched again`);
  while (await records.blobs.isDoubted(digest)) await sleep(poll, undefined, { signal });
}

/** The blob that an error says the store lacks. */
export function lostBlobOf(error: unknown): Digest | undefined {
  if (!(error instanceof DrayError) || error.code !== 'BLOB_UNKNOWN') return undefined;
  const { digest } = error.context;
  return typeof digest === 'string' && isDigest(digest) ? digest : undefined;
}
