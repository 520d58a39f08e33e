import { imageForm } from '../image-record.ts';
import type { ImageStore } from '../store.ts';
import type { Bucket } from './bucket.ts';
import type { Keys } from './keys.ts';
import { s3Records } from './records.ts';

/** Names of images. */
export function s3Images(bucket: Bucket, keys: Keys): ImageStore {
  const records = s3Records(bucket, keys.images, imageForm);
  return {
    ...records,
    put: (record, options) =>
      records.put({ ...record, updatedAt: record.updatedAt ?? new Date() }, options),
  };
}
