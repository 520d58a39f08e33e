/** Collects everything in a store, and stands still at the second removal. Arguments: Redis's URL, the store's folder. */
import { pino } from 'pino';
import { openFolderStore } from '../../../../shared/content/folder/store.ts';
import { PullRecords } from '../../../../shared/pull/records.ts';
import { connectRedis } from '../../../../shared/queue/connection.ts';
import { collect } from '../../../../worker/fleet/gc/collect.ts';
import { GcRun } from '../../../../worker/fleet/gc/run.ts';
import { prefix } from './store.ts';

const [, , url = '', folder = ''] = process.argv;
const redis = connectRedis({ url, prefix }, { name: 'collector' });
const store = await openFolderStore({ path: folder });
let removals = 0;
const content = {
  ...store.content,
  remove: async (...call: Parameters<typeof store.content.remove>) => {
    if (++removals === 1) return await store.content.remove(...call);
    process.stdout.write('removing\n');
    return await new Promise<void>(() => {});
  },
};
const run = await GcRun.begin(redis, prefix);
if (run === undefined) throw new Error('another one goes on');
await collect(
  run,
  {
    store: { ...store, content },
    records: new PullRecords(redis, prefix),
    log: pino({ level: 'silent' }),
  },
  { graceMs: 0, retention: [], dryRun: false, signal: AbortSignal.timeout(60_000) },
);
