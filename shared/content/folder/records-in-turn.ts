import { acquireLock } from '../../lock.ts';
import type { CallOptions, ChangingRecords } from '../store.ts';
import type { FolderRecords } from './records.ts';

/** Milliseconds in which whoever holds the lock is done: one file is read, and one written. */
const boundMs = 30_000;

/** Records of which one is changed at a time, of whatever process. Who reads waits for nobody. */
export function inTurn<T extends { name: string }>(
  records: FolderRecords<T>,
  lock: string,
): ChangingRecords<T> {
  async function locked<R>(options: CallOptions, work: () => Promise<R>): Promise<R> {
    using _lock = await acquireLock(lock, { ...options, boundMs });
    return await work();
  }
  return {
    list: (options) => records.list(options),
    get: (name, options) => records.get(name, options),
    put: (record, options = {}) => locked(options, () => records.put(record, options)),
    remove: (name, options = {}) => locked(options, () => records.remove(name, options)),
    update: (name, change, options = {}) =>
      locked(options, async () => {
        const before = await records.get(name, options);
        const after = change(before);
        if (after === undefined || after === before) return false;
        await records.put(after, options);
        return true;
      }),
  };
}
