import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { digestOf } from '../../../shared/image/digest.ts';
import { connectRedis } from '../../../shared/queue/connection.ts';
import { consume } from '../../../shared/queue/consume.ts';
import { JobQueues } from '../../../shared/queue/jobs.ts';
import { fetchQueue } from '../../../shared/queue/names.ts';
import { parseFetchPayload } from '../../../shared/queue/payloads.ts';
import { startRedisCluster, startSentinels } from '../../support/redis-topologies.ts';
import { requireTool } from '../../support/requirements.ts';

describe('consumers that wait for jobs when the server of the queue dies', {
  concurrency: false,
}, () => {
  for (const [name, start] of [
    ['Sentinels', startSentinels],
    ['a Cluster', startRedisCluster],
  ] as const) {
    test(`${name}: each goes on`, { timeout: 120_000 }, async (t) => {
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
      for (let waited = 0; taken.size < prefixes.length; waited += 100) {
        assert.ok(waited < 40_000, `only ${taken.size} of ${prefixes.length} take jobs again`);
        await sleep(100);
      }
    });
  }
});
