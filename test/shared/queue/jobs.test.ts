import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../../shared/image/digest.ts';
import { JobQueues } from '../../../shared/queue/jobs.ts';
import { fetchQueue } from '../../../shared/queue/names.ts';
import { startRedis } from '../../support/redis.ts';
import { requireTool } from '../../support/requirements.ts';

// It was refused with what BullMQ says of a job that it does not have.
test('a job that ends while a higher priority is given to it keeps nobody from adding', async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  await using server = await startRedis();
  const [redis, other] = [server.connect(), server.connect()];
  await using queues = new JobQueues(redis, '{test}');
  await using others = new JobQueues(other, '{test}');
  const queue = queues.queue(fetchQueue);
  for (let i = 0; i < 200; i++) {
    const digest = digestOf(`blob ${i}`);
    await queues.add([{ queue: 'fetch-blob', digest, priority: 'low' }]);
    const [job] = await queue.getJobs(['prioritized']);
    assert.ok(job);
    const adding = others.add([{ queue: 'fetch-blob', digest, priority: 'high' }]);
    // Between any two of its steps.
    for (let turns = i % 4; turns > 0; turns--) await redis.ping();
    await Promise.all([adding, job.remove()]);
    await queue.drain();
  }
});
