import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job } from 'bullmq';
import type { Redis } from '../../../shared/queue/connection.ts';
import { isConsuming } from '../../../shared/queue/consume.ts';
import { ConsumerWorker } from '../../../shared/queue/consumer-worker.ts';
import { JobQueues } from '../../../shared/queue/jobs.ts';
import { resolveQueue } from '../../../shared/queue/names.ts';
import { serveTelemetry } from '../../../shared/telemetry/serve.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { until } from '../../support/until.ts';

/** Longer than a loop may ask for nothing. */
const aMinute = 61_000;

describe('whether a worker is alive', () => {
  let server: TestRedis;
  let redis: Redis;
  before(async () => {
    server = await startRedis();
    redis = server.connect({ patient: true });
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  /** A worker of a queue of its own, asking every second, with its /livez as it is `later` milliseconds from now. */
  async function start(cleanUp: AsyncDisposableStack, handle: () => Promise<void>, stuck = false) {
    const prefix = `{${Math.random().toString(36).slice(2)}}`;
    const queues = cleanUp.use(new JobQueues(redis, prefix));
    const Kind = stuck ? StuckWorker : ConsumerWorker;
    const options = { connection: redis, prefix, concurrency: 1, drainDelay: 1 };
    const worker = new Kind(resolveQueue, handle, options);
    worker.on('error', () => {});
    cleanUp.defer(async () => await worker.close(true));
    await worker.waitUntilReady();
    let later = 0;
    const isAlive = () => redis.status !== 'ready' || worker.isAdvancing(performance.now() + later);
    const telemetry = await serveTelemetry('127.0.0.1:0', { isAlive, isReady: () => true });
    cleanUp.defer(async () => await telemetry.close());
    const { port } = telemetry.server.address() as AddressInfo;
    const livez = async (ms = 0) => {
      later = ms;
      return (await fetch(`http://127.0.0.1:${port}/livez`)).status;
    };
    return { worker, livez, add: () => queues.add([pullJob()]) };
  }

  test('a loop that asks again and again is alive, also when there is nothing to do', async () => {
    await using cleanUp = new AsyncDisposableStack();
    const { worker, livez } = await start(cleanUp, async () => {});
    const began = performance.now();
    // Whoever had asked when it began, and never since, would be taken for dead by then.
    const asked = () => worker.isAdvancing(began + aMinute);
    await until('that it asks again', asked);
    assert.equal(await livez(), 200);
  });

  test('a loop that hangs while Redis answers makes /livez fail', async () => {
    await using cleanUp = new AsyncDisposableStack();
    const handled: number[] = [];
    const handle = async () => void handled.push(1);
    const { worker, livez, add } = await start(cleanUp, handle, true);
    assert.equal(await livez(), 200, 'it may have asked just now');
    assert.ok(worker instanceof StuckWorker);
    await worker.stuck;
    await add();
    await sleep(500);
    assert.deepEqual(handled, [], 'it takes nothing');
    assert.equal(await redis.ping(), 'PONG');
    assert.equal(await livez(aMinute), 503);
  });

  test('one that has no room for more is alive, however long its job takes; and then has to ask again', async () => {
    await using cleanUp = new AsyncDisposableStack();
    const job = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const { worker, livez, add } = await start(cleanUp, async () => {
      begun.resolve();
      await job.promise;
    });
    await add();
    await begun.promise;
    assert.equal(await livez(10 * aMinute), 200);
    job.resolve();
    await until('its job’s end', () => !worker.isAdvancing(performance.now() + 10 * aMinute));
    assert.equal(await livez(), 200);
    assert.equal(await livez(10 * aMinute), 503);
  });

  test('while Redis is away it is no fault of the worker: starting it again would not help', async () => {
    const idle = { connection: redis, prefix: '{idle}', autorun: false };
    const worker = new ConsumerWorker(resolveQueue, async () => {}, idle);
    worker.on('error', () => {});
    assert.ok(!isConsuming(worker, redis), 'one that does not run asks for nothing');
    await server.kill();
    try {
      await until('that it is missed', () => redis.status !== 'ready');
      assert.ok(isConsuming(worker, redis));
    } finally {
      await server.restart();
      await worker.close(true);
    }
  });

  let pulls = 0;
  function pullJob() {
    return { queue: 'resolve', pull: `pull${++pulls}`, priority: 'normal', isNew: true } as const;
  }
});

/** Its second question is never answered. */
class StuckWorker extends ConsumerWorker {
  readonly #stuck = Promise.withResolvers<void>();
  #asked = 0;

  /** Settles when it has asked it. */
  get stuck(): Promise<void> {
    return this.#stuck.promise;
  }

  protected override async moveToActive(token: string, name?: string): Promise<Job> {
    if (this.#asked++ === 0) return await super.moveToActive(token, name);
    this.#stuck.resolve();
    return await new Promise<never>(() => {});
  }
}
