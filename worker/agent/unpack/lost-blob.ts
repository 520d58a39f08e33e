import { DrayError } from '../../../shared/errors.ts';
import { type Digest, isDigest } from '../../../shared/image/digest.ts';
import type { Logger } from '../../../shared/logging.ts';
import type { PullRecords } from '../../../shared/pull/records.ts';
import { lostBlobs } from '../metrics.ts';

/** Has a blob that the store lost, or had wrong, fetched again for a pull, and says so. */
export async function refetchBlob(
  { records, log }: { records: Pick<PullRecords, 'reopenBlob' | 'note'>; log: Logger },
  pull: string,
  digest: Digest,
  why: string,
): Promise<void> {
  lostBlobs.inc();
  log.warn({ digest, pull }, `a blob of the content store ${why}; it is fetched again`);
  await records.reopenBlob(pull, digest);
  await records.note(pull, `the content store's ${digest} ${why}: it is fetched again`);
}

/** The blob that an error says the store lacks. */
export function lostBlobOf(error: unknown): Digest | undefined {
  if (!(error instanceof DrayError) || error.code !== 'BLOB_UNKNOWN') return undefined;
  const { digest } = error.context;
  return typeof digest === 'string' && isDigest(digest) ? digest : undefined;
}
