import { describe, test } from 'node:test';
import { pino } from 'pino';
import { digestOf } from '../../../shared/image/digest.ts';
import { connectRedis } from '../../../shared/queue/connection.ts';
import { consume } from '../../../shared/queue/consume.ts';
import { JobQueues } from '../../../shared/queue/jobs.ts';
import { fetchQueue } from '../../../shared/queue/names.ts';
import { parseFetchPayload } from '../../../shared/queue/payloads.ts';
import { startRedisCluster, startSentinels } from '../../support/redis-topologies.ts';
import { requireTool } from '../../support/requirements.ts';
import { until } from '../../support/until.ts';

describe('consumers that wait for jobs when the server of the queue dies', {
  concurrency: false,
}, () => {
  for (const [name, start] of [
    ['Sentinels', startSentinels],
    ['a Cluster', startRedisCluster],
  ] as const) {
    test(`${name}: each goes on`, { timeout: 300_000 }, async (t) => {
      if (!requireTool(t, 'redis-server', 'redis-cli')) return;
      // Long enough for BullMQ to reset each connection before a replica takes over.
      await using group = await start({ deadAfter: 7_000 });
      await using end = new AsyncDisposableStack();
      const taken = new Set<string>();
      const prefixes = Array.from({ length: 16 }, (_, i) => `{dray}${i}`);
      const ends = prefixes.map((prefix) => {
        const connect = () =>
          connectRedis({ url: group.url, prefix }, { name: 'test', patient: true });
        const redis = connect();
        end.defer(() => redis.disconnect());
        const queues = end.use(new JobQueues(redis, prefix));
        return { prefix, queues, redis };
      });
      for (const { prefix, queues, redis } of ends) {
        const worker = consume(
          {
            queue: fetchQueue,
            concurrency: 1,
            parse: parseFetchPayload,
            handle: async () => {
              taken.add(prefix);
              return [];
            },
            gaveUp: async () => {},
          },
          {
            ...{ redis, prefix, queues, log: pino({ level: 'silent' }) },
            stopping: new AbortController().signal,
          },
        );
        end.defer(() => worker.close(true));
        await worker.waitUntilReady();
      }

      await group.killPrimary();
      for (const { queues } of ends) {
        const digest = digestOf(Buffer.from('content'));
        await queues.add([{ queue: 'fetch-blob', digest, priority: 'normal' }]);
      }
      await until(
        () => `all of ${prefixes.length} take jobs again, and not ${taken.size}`,
        () => taken.size === prefixes.length,
      );
    });
  }
});
