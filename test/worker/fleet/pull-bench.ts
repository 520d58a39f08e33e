import { openFolderStore } from '../../../shared/content/folder/store.ts';
import type { Store } from '../../../shared/content/store.ts';
import { ContentLease } from '../../../shared/gc/lease.ts';
import type { NewPull } from '../../../shared/pull/create.ts';
import { PullRecords } from '../../../shared/pull/records.ts';
import type { Redis } from '../../../shared/queue/connection.ts';
import { JobQueues } from '../../../shared/queue/jobs.ts';
import { startRedis } from '../../support/redis.ts';
import { temporaryFolder } from '../agent/snapshot/agent-root.ts';

/** What the steps of a pull stand on, without a worker that takes them. */
export interface PullBench extends AsyncDisposable {
  redis: Redis;
  records: PullRecords;
  queues: JobQueues;
  store: Store;
  newLease: () => ContentLease;
  /** Makes the record of a pull into the store. @returns its id */
  create: (reference: string, more?: Partial<NewPull>) => Promise<string>;
}

export async function openPullBench(): Promise<PullBench> {
  const prefix = '{test}';
  const stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const server = stack.use(await startRedis());
  const store = stack.use(await openFolderStore({ path: folder.path }));
  const redis = server.connect();
  const queues = stack.use(new JobQueues(redis, prefix));
  const records = new PullRecords(redis, prefix);
  return {
    ...{ redis, records, queues, store },
    newLease: () => new ContentLease(redis, prefix),
    create: (reference, more = {}) =>
      records.create({ reference, platform: 'linux/amd64', nodes: [], want: 'image', ...more }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
