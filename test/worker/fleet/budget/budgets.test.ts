import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DrayError } from '../../../../shared/errors.ts';
import type { Priority } from '../../../../shared/pull/priority.ts';
import type { Redis } from '../../../../shared/queue/connection.ts';
import { type FleetLimits, RegistryLimits } from '../../../../shared/registry/limits.ts';
import { askingFor } from '../../../../worker/fleet/budget/asking.ts';
import { RegistryBudgets } from '../../../../worker/fleet/budget/budgets.ts';
import type { Quota } from '../../../../worker/fleet/registry/exchange-budget.ts';
import { startRedis, type TestRedis } from '../../../support/redis.ts';

const prefix = '{test}';

describe('budgets of registries', () => {
  let server: TestRedis;
  let redis: Redis;
  let limits: RegistryLimits;
  /** Two workers. */
  let workers: [RegistryBudgets, RegistryBudgets];
  let hosts = 0;

  before(async () => {
    server = await startRedis();
    redis = server.connect({ patient: true });
    limits = new RegistryLimits(redis, prefix);
    const other = server.connect({ patient: true });
    workers = [new RegistryBudgets(redis, prefix), new RegistryBudgets(other, prefix)];
  });
  after(async () => {
    for (const worker of workers) worker[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  });

  async function limited(set: FleetLimits): Promise<string> {
    const host = `registry-${++hosts}.example`;
    await limits.set(host, set);
    return host;
  }

  interface Asked {
    worker?: 0 | 1;
    priority?: Priority;
    follows?: boolean;
    isBlob?: boolean;
  }

  /** Asks once: what is got, or how long to wait. */
  async function ask(host: string, ticket: string, asked: Asked = {}) {
    const { worker = 0, priority = 'normal', follows = false, isBlob = false } = asked;
    try {
      return await askingFor({ ticket, priority, isPatient: priority !== 'high' }, () =>
        workers[worker].enter(host, { follows, isBlob, signal: undefined }),
      );
    } catch (error) {
      if (!(error instanceof DrayError)) throw error;
      assert.equal(error.code, 'RATE_LIMITED');
      assert.equal(error.retryable, true);
      return Number(error.context.retryAfterMs);
    }
  }

  test('two workers share one rate, another registry has its own', async () => {
    const host = await limited({ requestsPerSecond: 0.1, burst: 4 });
    for (const n of [0, 1, 0, 1] as const) {
      assert.equal(typeof (await ask(host, `a${n}${Math.random()}`, { worker: n })), 'object');
    }
    const waits = [
      await ask(host, 'w1', { worker: 0 }),
      await ask(host, 'w2', { worker: 1 }),
      await ask(host, 'w3', { worker: 0 }),
    ];
    assert.deepEqual(
      waits.map((wait) => typeof wait),
      ['number', 'number', 'number'],
    );
    assert.deepEqual(waits, waits.toSorted(), 'each is told a time behind the one before');
    const elsewhere = await limited({ requestsPerSecond: 0.1 });
    assert.equal(typeof (await ask(elsewhere, 'x')), 'object');
  });

  test('what goes on with a request that was let in counts and does not wait', async () => {
    const host = await limited({ requestsPerSecond: 0.05 });
    await ask(host, 'a');
    assert.equal(typeof (await ask(host, 'a', { follows: true })), 'object');
    assert.ok(Number(await ask(host, 'b')) > 5_000);
  });

  test('the first priority goes before those who wait, the last behind', async () => {
    const host = await limited({ requestsPerSecond: 0.2, burst: 2 });
    for (const n of [1, 2]) await ask(host, `a${n}`);
    const low = [1, 2, 3, 4].map((n) => ask(host, `low${n}`, { priority: 'low' }));
    const last = Number((await Promise.all(low)).at(-1));
    const normal = Number(await ask(host, 'normal', { priority: 'normal' }));
    const high = Number(await ask(host, 'high', { priority: 'high' }));
    const lowest = Number(await ask(host, 'low5', { priority: 'low' }));
    assert.ok(high < last && normal < last && lowest > last, `${high} ${normal} ${last} ${lowest}`);
  });

  test('nobody waits longer than those who came to their time have to', async () => {
    const host = await limited({ requestsPerSecond: 20, burst: 1 });
    await ask(host, 'first');
    const low = Number(await ask(host, 'low', { priority: 'low' }));
    await sleep(low);
    // While those of the first priority come all the time.
    const crowd = Array.from({ length: 30 }, (_, n) => ask(host, `h${n}`, { priority: 'high' }));
    let tries = 0;
    for (let got: unknown = 0; typeof got !== 'object'; tries++) {
      got = await ask(host, 'low', { priority: 'low' });
      if (typeof got === 'number') await sleep(got);
    }
    await Promise.all(crowd);
    assert.ok(tries < 10, `${tries} tries`);
  });

  test('concurrent requests: the next is let in when one is over', async () => {
    const host = await limited({ concurrent: 2 });
    const first = await ask(host, 'a');
    await ask(host, 'b', { worker: 1 });
    assert.equal(typeof (await ask(host, 'c')), 'number');
    assert.ok(typeof first === 'object');
    first[Symbol.dispose]();
    // The same connection of Redis: what was told comes before what is asked.
    assert.equal(typeof (await ask(host, 'c')), 'object');
  });

  test('limits count from the next request on', async () => {
    const host = await limited({ requestsPerSecond: 0.05 });
    await ask(host, 'a');
    assert.equal(typeof (await ask(host, 'b')), 'number');
    await limits.set(host, {});
    assert.equal(typeof (await ask(host, 'b')), 'object');
    assert.equal(typeof (await ask(host, 'c')), 'object');
  });

  test('a pause stops everybody, whatever they have; the longest one counts', async () => {
    const host = await limited({});
    assert.equal(await workers[0].pause(host, 120_000), 120_000);
    const left = await workers[1].pause(host, 2_000);
    assert.ok(left > 100_000 && left <= 120_000);
    for (const priority of ['high', 'low'] as const) {
      const wait = Number(await ask(host, `p-${priority}`, { priority, worker: 1 }));
      assert.ok(wait > 100_000 && wait < 121_000, `${wait}`);
    }
    assert.ok(Number(await ask(host, 'follows', { follows: true })) > 100_000);
    const [paused] = (await limits.list()).filter((registry) => registry.host === host);
    assert.ok((paused?.pausedUntil?.getTime() ?? 0) > Date.now() + 90_000);
  });

  test('near the end of its quota a registry is asked by no more at once than are left, of both workers', async () => {
    const host = await limited({});
    const enter = async (worker: 0 | 1) => {
      const entered = await ask(host, `q${Math.random()}`, { worker, priority: 'high' });
      assert.ok(typeof entered === 'object', `it waits ${String(entered)} ms`);
      return entered;
    };
    const waits = async (worker: 0 | 1) => {
      const wait = Number(await ask(host, `w${Math.random()}`, { worker, priority: 'high' }));
      assert.ok(wait > 0 && wait < 1_000, `${wait}`);
    };
    // Nothing is known before the first answer, and a registry that says nothing is not limited.
    await (await enter(0)).answered(undefined);
    const [first, second] = [await enter(0), await enter(1)];
    await first.answered({ left: 2, limit: 10, resetMs: 60_000 });
    const [third, fourth] = [await enter(1), await enter(0)];
    await waits(0);
    await waits(1);
    // An answer that was overtaken does not give back what another one took.
    await second.answered({ left: 3, limit: 10, resetMs: 60_000 });
    await third.answered({ left: 1, limit: 10, resetMs: 60_000 });
    await waits(1);
    // One that broke off is no longer waited for.
    fourth[Symbol.dispose]();
    const fifth = await enter(0);
    await waits(0);
    assert.equal(typeof (await ask(host, 'follows', { follows: true })), 'object');
    const [shown] = (await limits.list()).filter((registry) => registry.host === host);
    assert.deepEqual(shown?.quota, { left: 1, limit: 10 });
    // Nothing is left, and it is known until when.
    await fifth.answered({ left: 0, limit: 10, resetMs: 120_000 });
    assert.ok(Number(await ask(host, 'late', { worker: 1 })) > 100_000);
  });

  test('a quota that is used up until nobody knows when is tried by one after the other', async () => {
    const host = await limited({});
    const first = await ask(host, 'a');
    assert.ok(typeof first === 'object');
    await first.answered({ left: 0, limit: 100 });
    const second = await ask(host, 'b');
    assert.ok(typeof second === 'object');
    assert.equal(typeof (await ask(host, 'c', { worker: 1 })), 'number');
    await sleep(1_100);
    await second.answered({ left: 50, limit: 100 });
    for (const ticket of ['d', 'e', 'f']) assert.equal(typeof (await ask(host, ticket)), 'object');
  });

  /** Asks and is answered at once, with what the registry then says. */
  async function answered(host: string, quota: Quota | undefined, asked: Asked = {}) {
    const entered = await ask(host, `answered${Math.random()}`, asked);
    assert.ok(typeof entered === 'object', `it waits ${String(entered)} ms`);
    await entered.answered(quota);
    entered[Symbol.dispose]();
  }

  test('a quota that is enough for those who ask holds nobody up', async () => {
    const host = await limited({});
    await answered(host, { left: 9, limit: 100, resetMs: 60_000 });
    for (const worker of [0, 1, 0, 1] as const) {
      assert.equal(typeof (await ask(host, `few${worker}${Math.random()}`, { worker })), 'object');
    }
  });

  test('where less is left than is wanted, bulk is spread over the rest of the time, and people pass', async () => {
    const host = await limited({});
    await answered(host, { left: 10, limit: 100, resetMs: 60_000 });
    const bulk = async (n: number) => ask(host, `bulk${n}`, { priority: 'low' });
    // Half of what is left goes at once; the first of the others begins the spreading.
    for (let n = 0; n < 5; n++) assert.equal(typeof (await bulk(n)), 'object');
    assert.equal(typeof (await bulk(5)), 'object');
    const waits = [Number(await bulk(6)), Number(await bulk(7)), Number(await bulk(8))];
    assert.deepEqual(
      waits,
      waits.toSorted((a, b) => a - b),
    );
    assert.ok((waits[0] ?? 0) > 1_000 && (waits[0] ?? 0) < 12_000, `${waits}`);
    // Nobody is sent away for longer than until there is more.
    for (let n = 9; n < 40; n++) assert.ok(Number(await bulk(n)) <= 60_000);
    const before = Number(await ask(host, 'normal', { priority: 'normal' }));
    const behind = Number(await ask(host, 'low', { priority: 'low' }));
    assert.ok(before < behind + 1_000, `${before} ${behind}`);
    assert.equal(typeof (await ask(host, 'person', { priority: 'high' })), 'object');
  });

  test('when a quota begins anew, what was put off goes on', async () => {
    const host = await limited({});
    await answered(host, { left: 2, limit: 100, resetMs: 5_000 });
    await answered(host, { left: 1, limit: 100, resetMs: 5_000 });
    await answered(host, undefined, { priority: 'low' });
    const wait = Number(await ask(host, 'put off', { priority: 'low' }));
    assert.ok(wait > 500 && wait <= 5_000, `${wait}`);
    await sleep(wait + 50);
    for (const n of [0, 1, 2, 3]) {
      assert.equal(typeof (await ask(host, `put off${n || ''}`, { priority: 'low' })), 'object');
    }
  });

  test('of a window that moves along, as Docker Hub has it, one comes back at a time', async () => {
    const host = await limited({});
    const quota = (left: number) => ({ left, limit: 10, windowMs: 10_000 });
    await answered(host, quota(1));
    await answered(host, quota(0), { priority: 'low' });
    const wait = Number(await ask(host, 'bulk', { priority: 'low' }));
    assert.ok(wait > 500 && wait <= 3_000, `${wait}`);
    await answered(host, quota(0), { priority: 'high' });
    await sleep(wait + 20);
    assert.equal(typeof (await ask(host, 'bulk', { priority: 'low' })), 'object');
  });

  test('who comes a little late for his share puts off nobody behind him', async () => {
    const host = await limited({});
    await answered(host, { left: 10, limit: 100, resetMs: 30_000 });
    for (let n = 0; n < 6; n++) {
      assert.equal(typeof (await ask(host, `now${n}`, { priority: 'low' })), 'object');
    }
    const waits: number[] = [];
    for (let n = 0; n < 3; n++) waits.push(Number(await ask(host, `${n}`, { priority: 'low' })));
    await sleep((waits[0] ?? 0) + 300);
    assert.equal(typeof (await ask(host, '0', { priority: 'low' })), 'object');
    await sleep((waits[1] ?? 0) - (waits[0] ?? 0) - 280);
    assert.equal(typeof (await ask(host, '1', { priority: 'low' })), 'object');
  });

  test('blobs that a registry does not count are not held up', async () => {
    const host = await limited({});
    const quota = { left: 1, limit: 100, windowMs: 6 * 3600_000 };
    await answered(host, quota);
    // The first blob tells.
    await answered(host, undefined, { isBlob: true });
    await answered(host, { ...quota, left: 0 }, { priority: 'high' });
    assert.ok(Number(await ask(host, 'manifest')) > 10_000);
    for (const n of [1, 2, 3]) {
      assert.equal(typeof (await ask(host, `blob${n}`, { isBlob: true })), 'object');
    }
  });

  test('who refuses without saying for how long is asked later each time', async () => {
    const host = await limited({});
    const { paused } = { paused: `${prefix}:dray:budget:${host}:paused` };
    const waits: number[] = [];
    for (let n = 0; n < 8; n++) {
      waits.push(await workers[0].pause(host, undefined));
      await redis.del(paused);
    }
    assert.deepEqual(
      waits,
      [1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * 1_000),
    );
  });

  test('bandwidth: of all workers, and of each', async () => {
    async function timeOf(host: string): Promise<number> {
      const begun = performance.now();
      await Promise.all(
        workers.map(async (worker) => {
          const pace = worker.pace(host, undefined);
          for (let n = 0; n < 8; n++) await pace(65_536);
        }),
      );
      return performance.now() - begun;
    }
    // 2 × 512 KiB at 1 MiB/s, of which the first tenth is free.
    assert.ok((await timeOf(await limited({ bytesPerSecond: 1 << 20 }))) > 750);
    assert.ok((await timeOf(await limited({ workerBytesPerSecond: 1 << 20 }))) > 400);
    const wide = await limited({ bytesPerSecond: 1 << 20 });
    const loading = timeOf(wide);
    await sleep(100);
    await limits.set(wide, {});
    await loading;
    assert.equal(typeof (await ask(wide, 'blob', { isBlob: true })), 'object');
  });

  test('while the bandwidth is used, further blobs wait in the queue, and manifests do not', async () => {
    const host = await limited({ bytesPerSecond: 65_536 });
    await workers[0].pace(host, undefined)(20 * 65_536);
    assert.ok(Number(await ask(host, 'blob', { isBlob: true })) > 5_000);
    assert.equal(typeof (await ask(host, 'manifest')), 'object');
  });

  test('limits that are none are refused', async () => {
    for (const wrong of [{ requestsPerSecond: 0 }, { concurrent: 1.5 }, { bytesPerSecond: 10 }]) {
      await assert.rejects(limits.set('registry.example', wrong), { code: 'USAGE' });
    }
  });
});
