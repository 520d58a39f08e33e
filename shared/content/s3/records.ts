import { randomInt } from 'node:crypto';
import { DrayError } from '../../errors.ts';
import { forEachAtMost } from '../../for-each-at-most.ts';
import { pause } from '../pause.ts';
import { type RecordForm, recordKey } from '../record-form.ts';
import type { CallOptions, ChangingRecords } from '../store.ts';
import type { Bucket } from './bucket.ts';
import { readObject } from './read.ts';

/** How often a change is tried while others change the same record. */
const mostTries = 100;
/** Milliseconds between two of them, at most. */
const longestPause = 50;

/** Records before whose keys `prefix` stands: one object each. */
export function s3Records<T extends { name: string }>(
  bucket: Bucket,
  prefix: string,
  form: RecordForm<T>,
): ChangingRecords<T> {
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
    async update(name, change, options = {}) {
      const key = keyOf(name);
      for (let tries = 0; tries < mostTries; tries++) {
        if (tries > 0) await pause(randomInt(longestPause), options);
        const there = await bucket.head(key, options);
        const etag = there?.etag;
        let before: T | undefined;
        if (etag !== undefined) {
          before = await readRecord(bucket, key, form, { ...options, etag }).catch(onlyChanged);
          if (before === undefined) continue;
        }
        const after = change(before);
        if (after === undefined || after === before) return false;
        const condition = etag === undefined ? { ifAbsent: true } : { ifStill: etag };
        const put = await bucket.put(key, form.encode(after), { ...options, ...condition });
        if (put !== undefined) return true;
      }
      throw new DrayError('STORE_UNAVAILABLE', `${key} in ${bucket.place} can't be changed`, {
        retryable: true,
        hint: 'Others change it all the time, or the server does not understand If-Match. Try again.',
        context: { key },
      });
    },
  };
}

async function readRecord<T>(
  bucket: Bucket,
  key: string,
  form: RecordForm<T>,
  options: CallOptions & { etag?: string },
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

/** What was looked up is another one by now, or gone: it is looked at again. */
function onlyChanged(error: unknown): undefined {
  if (error instanceof DrayError && error.context.status === 412) return undefined;
  throw error;
}
