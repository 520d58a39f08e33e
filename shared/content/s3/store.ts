import { desiredSetForm } from '../../desired/set-form.ts';
import { accessForm } from '../../registry/access.ts';
import type { CallOptions, Store } from '../store.ts';
import { Bucket, type BucketPlace } from './bucket.ts';
import { s3Content } from './content.ts';
import { s3Images } from './images.ts';
import { Keys } from './keys.ts';
import { s3Records } from './records.ts';

/** Bytes: what followers wait for, what a killed writer loses, and a third of what an ingest holds in memory. */
const defaultPartSize = 8 << 20;

/**
 * Opens a bucket as a store. Credentials come from the standard AWS chain. Any number of machines may use it.
 * `prefix` stands before every key, and is empty or ends in `/`; `partSize` is in bytes, 5 MiB at least.
 * @throws STORE_UNAVAILABLE, UNAUTHORIZED, DENIED
 */
export async function openS3Store(
  options: CallOptions & BucketPlace & { prefix: string; partSize?: number },
): Promise<Store> {
  const { prefix, partSize = defaultPartSize, signal, ...place } = options;
  const bucket = new Bucket(place);
  const keys = new Keys(prefix);
  try {
    await bucket.check(signal === undefined ? {} : { signal });
  } catch (error) {
    bucket.close();
    throw error;
  }
  return {
    content: s3Content(bucket, keys, partSize),
    images: s3Images(bucket, keys),
    desired: s3Records(bucket, keys.desired, desiredSetForm),
    access: s3Records(bucket, keys.access, accessForm),
    describe: () => `s3 ${place.bucket}/${prefix} at ${bucket.endpoint}`,
    [Symbol.asyncDispose]: async () => bucket.close(),
  };
}
