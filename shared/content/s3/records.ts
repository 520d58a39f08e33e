import { DrayError } from '../../errors.ts';
import { forEachAtMost } from '../../for-each-at-most.ts';
import { type RecordForm, recordKey } from '../record-form.ts';
import type { CallOptions, RecordStore } from '../store.ts';
import type { Bucket } from './bucket.ts';
import { readObject } from './read.ts';

/** Records before whose keys `prefix` stands: one object each. */
export function s3Records<T extends { name: string }>(
  bucket: Bucket,
  prefix: string,
  form: RecordForm<T>,
): RecordStore<T> {
  const keyOf = (name: string) => `${prefix}${recordKey(name)}`;
  return {
    async list(options = {}) {
      const records: T[] = [];
      await forEachAtMost(8, bucket.list(prefix, options), async ({ key }) => {
        const record = await readRecord(bucket, key, form, options);
        if (record !== undefined) records.push(record);
      });
      return records.sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    get: (name, options = {}) => readRecord(bucket, keyOf(name), form, options),
    async put(record, options = {}) {
      await bucket.put(keyOf(record.name), form.encode(record), options);
    },
    async remove(name, options = {}) {
      if ((await bucket.head(keyOf(name), options)) === undefined) return false;
      await bucket.remove(keyOf(name), options);
      return true;
    },
  };
}

async function readRecord<T>(
  bucket: Bucket,
  key: string,
  form: RecordForm<T>,
  options: CallOptions,
): Promise<T | undefined> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of readObject(bucket, key, options)) chunks.push(chunk);
  } catch (error) {
    if (error instanceof DrayError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
  return form.decode(Buffer.concat(chunks).toString(), `${key} in ${bucket.place}`);
}
