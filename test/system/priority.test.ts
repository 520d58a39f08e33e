import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openStore } from '../../shared/content/open.ts';
import { ContentLease } from '../../shared/gc/lease.ts';
import { createLogger } from '../../shared/logging.ts';
import type { Priority } from '../../shared/pull/priority.ts';
import { PullRecords } from '../../shared/pull/records.ts';
import { JobQueues, queuePriority } from '../../shared/queue/jobs.ts';
import { fetchQueue, resolveQueue } from '../../shared/queue/names.ts';
import { RegistryLimits } from '../../shared/registry/limits.ts';
import { reconcile } from '../../worker/fleet/reconcile.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import { startLimitedRegistry } from '../support/limited-registry.ts';
import { pushImage, randomLayer } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';

describe('priorities of pulls', () => {
  let fleet: TestFleet;
  let queues: JobQueues;

  before(async () => {
    fleet = await startFleet();
    queues = new JobQueues(fleet.redis, fleet.config.redis.prefix);
  });
  after(async () => {
    await queues[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
  });

  test("a person's pull passes bulk pre-pulls that wait for a limit, and those end too", async () => {
    await using limited = await startLimitedRegistry({ tags: 31, perSecond: 1_000 });
    const { redis, config } = fleet;
    await new RegistryLimits(redis, config.redis.prefix).set(limited.registry.host, {
      requestsPerSecond: 1,
    });
    const pull = (reference: string, priority: Priority) =>
      fleet.pull({ reference, nodes: [], priority });
    const [urgent = '', ...others] = limited.references;
    const bulk = await Promise.all(others.map((reference) => pull(reference, 'low')));
    await using worker = await fleet.startWorker('w1');
    assert.ok(worker.pid > 0);
    // The line is full for half a minute when it comes.
    await Promise.race(bulk.map((id) => fleet.ended(id)));
    assert.equal((await fleet.ended(await pull(urgent, 'high'))).state, 'ready');
    const open = await Promise.all(bulk.map((id) => fleet.pulls.get(id)));
    const waiting = open.filter((status) => status?.state !== 'ready').length;
    assert.ok(waiting >= 10, `${waiting} of the bulk still waited`);
    for (const id of bulk) assert.equal((await fleet.ended(id)).state, 'ready');
  });

  test('jobs get the higher priority of those that want the same, and keep it', async () => {
    await using registry = await startRegistry();
    const image = await pushImage(registry.host, 'both', 'v1', [await randomLayer(10_000)]);
    const digest = image.layers[0]?.digest;
    assert.ok(digest !== undefined);
    const priorityOf = async (name: string) => {
      const [job] = await queues.queue(name).getPrioritized();
      return job?.priority;
    };
    await queues.add([{ queue: 'fetch-blob', digest, priority: 'low' }]);
    assert.equal(await priorityOf(fetchQueue), queuePriority('low'));
    await queues.add([{ queue: 'fetch-blob', digest, priority: 'high' }]);
    await queues.add([{ queue: 'fetch-blob', digest, priority: 'normal' }]);
    assert.equal(await priorityOf(fetchQueue), queuePriority('high'));
    assert.equal(await queues.queue(fetchQueue).getPrioritizedCount(), 1);
    await queues.add([{ queue: 'resolve', pull: 'mabc12340123abcd', priority: 'low' }]);
    await queues.add([{ queue: 'resolve', pull: 'mabc12340123abcd', priority: 'normal' }]);
    assert.equal(await priorityOf(resolveQueue), queuePriority('normal'));
    await queues.queue(resolveQueue).drain();
    await queues.queue(fetchQueue).drain();
  });

  test('the oldest pull that waits is raised, one at a time', async () => {
    const ids = await Promise.all(
      ['a', 'b'].map((tag) =>
        fleet.pull({ reference: `registry.example/x:${tag}`, nodes: [], priority: 'low' }),
      ),
    );
    const { prefix } = fleet.config.redis;
    for (const id of ids) {
      await fleet.redis.hset(`${prefix}:dray:pull:${id}`, 'createdAt', Date.now() - 120_000);
    }
    const { store, records, log } = await services();
    for (const id of ids) await records.lookAt(id, Date.now());
    const newLease = () => new ContentLease(fleet.redis, prefix);
    await reconcile(
      { redis: fleet.redis, records, store, queues, newLease, log },
      { signal: AbortSignal.timeout(60_000) },
    );
    const priorities = await Promise.all(
      ids.toSorted().map(async (id) => (await fleet.pulls.get(id))?.priority),
    );
    assert.deepEqual(priorities, ['high', 'low']);
    const job = await queues.queue(resolveQueue).getJob(ids.toSorted()[0] ?? '');
    assert.equal(job?.priority, queuePriority('high'));
    await store[Symbol.asyncDispose]();
  });

  async function services() {
    const store = await openStore(fleet.config.store);
    const records = new PullRecords(fleet.redis, fleet.config.redis.prefix);
    return { store, records, log: await createLogger('test', 'silent') };
  }
});
