import { DrayError } from '../../errors.ts';
import { decodeRecord, encodeRecord, recordKey } from '../image-record.ts';
import type { CallOptions, ImageRecord, ImageStore } from '../store.ts';
import type { Bucket } from './bucket.ts';
import type { Keys } from './keys.ts';
import { forEachAtMost } from './parts.ts';
import { readObject } from './read.ts';

/** Names of images: one object each. */
export function s3Images(bucket: Bucket, keys: Keys): ImageStore {
  const keyOf = (name: string) => `${keys.images}${recordKey(name)}`;
  return {
    async list(options = {}) {
      const records: ImageRecord[] = [];
      await forEachAtMost(8, bucket.list(keys.images, options), async ({ key }) => {
        const record = await readRecord(bucket, key, options);
        if (record !== undefined) records.push(record);
      });
      return records.sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    get: (name, options = {}) => readRecord(bucket, keyOf(name), options),
    async put(record, options = {}) {
      const text = encodeRecord({ ...record, updatedAt: record.updatedAt ?? new Date() });
      await bucket.put(keyOf(record.name), text, options);
    },
    async remove(name, options = {}) {
      if ((await bucket.head(keyOf(name), options)) === undefined) return false;
      await bucket.remove(keyOf(name), options);
      return true;
    },
  };
}

async function readRecord(
  bucket: Bucket,
  key: string,
  options: CallOptions,
): Promise<ImageRecord | undefined> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of readObject(bucket, key, options)) chunks.push(chunk);
  } catch (error) {
    if (error instanceof DrayError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
  return decodeRecord(Buffer.concat(chunks).toString(), `${key} in ${bucket.place}`);
}
