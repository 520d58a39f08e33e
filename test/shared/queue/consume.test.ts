import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'bullmq';
import { pino } from 'pino';
import { DrayError } from '../../../shared/errors.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import type { Redis } from '../../../shared/queue/connection.ts';
import { type Consumer, consume } from '../../../shared/queue/consume.ts';
import { JobQueues } from '../../../shared/queue/jobs.ts';
import { fetchQueue } from '../../../shared/queue/names.ts';
import { type FetchPayload, parseFetchPayload } from '../../../shared/queue/payloads.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { until } from '../../support/until.ts';

describe('taking jobs', () => {
  let server: TestRedis;
  let redis: Redis;
  before(async () => {
    server = await startRedis();
    redis = server.connect({ patient: true });
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  /** Runs `consumer` on a queue namespace of its own until `holds` does. */
  async function run(
    consumer: Partial<Consumer<FetchPayload>> & Pick<Consumer<FetchPayload>, 'handle'>,
    produce: (queues: JobQueues, stop: AbortController) => Promise<void>,
    holds: (queues: JobQueues) => boolean | Promise<boolean>,
  ): Promise<void> {
    const prefix = `{${Math.random().toString(36).slice(2)}}`;
    await using queues = new JobQueues(redis, prefix);
    const stop = new AbortController();
    const worker: Worker = consume(
      {
        queue: fetchQueue,
        concurrency: 4,
        parse: parseFetchPayload,
        gaveUp: async () => {},
        ...consumer,
      },
      {
        redis,
        prefix,
        queues,
        log: pino({ level: 'silent' }),
        stopping: stop.signal,
      },
    );
    try {
      await produce(queues, stop);
      await until('what the jobs are to bring', () => holds(queues));
    } finally {
      await worker.close();
    }
  }

  test('a job whose lock could not be renewed in time is ended before another worker may have it, and runs again', async () => {
    const ends: number[] = [];
    await run(
      {
        handle: async (_payload, { signal }) => {
          if (ends.length > 0) {
            ends.push(0);
            return [];
          }
          process.kill(server.pid(), 'SIGSTOP');
          const begun = performance.now();
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          ends.push(performance.now() - begun);
          process.kill(server.pid(), 'SIGCONT');
          throw signal.reason;
        },
      },
      (queues) => queues.add([{ queue: 'fetch-blob', priority: 'normal', digest: digestOf('f') }]),
      () => ends.length > 1,
    );
    // The lock is for ten seconds.
    assert.ok((ends[0] ?? 0) < 10_000, `after ${ends[0]} ms`);
  });

  test('ten requests for one digest are one job while it is queued or runs', async () => {
    let runs = 0;
    let ended = 0;
    const asked = Promise.withResolvers<void>();
    await run(
      {
        handle: async () => {
          runs++;
          await asked.promise;
          return [];
        },
        left: async () => {
          ended++;
        },
      },
      async (queues) => {
        const job = { queue: 'fetch-blob', priority: 'normal', digest: digestOf('a') } as const;
        await queues.add(Array.from({ length: 10 }, () => job));
        asked.resolve();
      },
      () => ended > 0,
    );
    assert.equal(runs, 1);
  });

  test('a failure that may pass is tried again, one that can not is given up at once', async () => {
    const tries: string[] = [];
    const given: string[] = [];
    await run(
      {
        handle: async ({ digest }) => {
          tries.push(digest);
          const retryable = digest === digestOf('flaps');
          if (retryable && tries.filter((d) => d === digest).length > 2) return [];
          throw new DrayError('BLOB_UNKNOWN', 'no', { retryable });
        },
        gaveUp: async ({ digest }) => {
          given.push(digest);
        },
      },
      (queues) =>
        queues.add([
          { queue: 'fetch-blob', priority: 'normal', digest: digestOf('flaps') },
          { queue: 'fetch-blob', priority: 'normal', digest: digestOf('gone') },
        ]),
      () => tries.filter((d) => d === digestOf('flaps')).length === 3 && given.length === 1,
    );
    assert.equal(tries.filter((d) => d === digestOf('gone')).length, 1);
    assert.deepEqual(given, [digestOf('gone')]);
  });

  test('what Redis refuses for a while fails no job for good', async () => {
    let tries = 0;
    const given: string[] = [];
    await run(
      {
        handle: async () => {
          const refusal = "return redis.error_reply('OOM command not allowed')";
          if (++tries < 3) await redis.eval(refusal, 0);
          return [];
        },
        gaveUp: async ({ digest }) => {
          given.push(digest);
        },
      },
      (queues) => queues.add([{ queue: 'fetch-blob', priority: 'normal', digest: digestOf('o') }]),
      () => tries === 3 || given.length > 0,
    );
    assert.deepEqual(given, []);
  });

  test('a payload from a newer version is delayed, not failed', async () => {
    let handled = 0;
    await run(
      {
        handle: async () => {
          handled++;
          return [];
        },
      },
      async (queues) => {
        await queues.queue(fetchQueue).add('fetch-blob', { v: 2, digest: digestOf('x') });
      },
      async (queues) => (await queues.queue(fetchQueue).getDelayedCount()) === 1,
    );
    assert.equal(handled, 0);
  });

  test('a malformed payload fails for good and is kept where a person can see it', async () => {
    await run(
      { handle: async () => [] },
      async (queues) => {
        await queues
          .queue(fetchQueue)
          .add('fetch-blob', { v: 1, digest: 'sha256:../../etc/passwd' }, { attempts: 5 });
      },
      async (queues) => {
        const [failed] = await queues.queue(fetchQueue).getFailed();
        return failed?.failedReason.startsWith('PAYLOAD_INVALID') ?? false;
      },
    );
  });

  test('a program that must stop hands its job back without costing a try', async () => {
    let given = 0;
    let stop: AbortController | undefined;
    await run(
      {
        handle: async (_payload, { signal }) => {
          stop?.abort();
          await sleep(10_000, undefined, { signal });
          return [];
        },
        gaveUp: async () => {
          given++;
        },
      },
      async (queues, controller) => {
        stop = controller;
        await queues.add([{ queue: 'fetch-blob', priority: 'normal', digest: digestOf('s') }]);
      },
      async (queues) => {
        const [job] = await queues.queue(fetchQueue).getJobs(['delayed', 'waiting', 'active']);
        return job?.attemptsMade === 0 && (stop?.signal.aborted ?? false);
      },
    );
    assert.equal(given, 0);
  });

  test('a job that must wait for a registry is delayed by what the registry asked, without costing a try', async () => {
    let tries = 0;
    let delayed = 0;
    await run(
      {
        handle: async () => {
          if (++tries === 1) {
            throw new DrayError('RATE_LIMITED', 'slow down', {
              retryable: true,
              context: { retryAfterMs: 300 },
            });
          }
          return [];
        },
        retrying: async () => {
          delayed++;
        },
      },
      (queues) => queues.add([{ queue: 'fetch-blob', priority: 'normal', digest: digestOf('r') }]),
      () => tries === 2,
    );
    assert.equal(delayed, 1);
  });
});
