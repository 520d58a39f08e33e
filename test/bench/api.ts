/**
 * `npm run bench:api`: 200 clients have 20,000 pulls of an image that the store has accepted by the API, beside
 * BullMQ's bare `add` of the same jobs to the same Redis, in one run; and again while a worker takes them. Ends with 1
 * when a request failed, or a pull did not get ready.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { serveOptions } from '../../producer/cli/program.ts';
import { createToken } from '../../shared/access/tokens.ts';
import { newPullId } from '../../shared/pull/id.ts';
import { PullRecords } from '../../shared/pull/records.ts';
import { resolveJobOptions } from '../../shared/queue/jobs.ts';
import { payloadVersion } from '../../shared/queue/payloads.ts';
import { startApi } from '../producer/api/support.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import { pushImage, randomLayer } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';
import { redisUse } from './fleet/redis-meter.ts';
import { cpuSeconds } from './meter.ts';
import { RawClient } from './raw-client.ts';

const clients = Number(process.env.CLIENTS ?? 200);
const total = Number(process.env.PULLS ?? 20_000);
const turns = 5;

// A process whose event loop has nothing left ends in the midst of an await.
process.once('exit', (code) => {
  if (!isThrough) console.error(`The benchmark ended before it was through, with ${code}.`);
});
let isThrough = false;

// Whoever bounds its time ends it so: it says so, and leaves no server behind.
const stopped = Promise.withResolvers<never>();
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.once(signal, () => stopped.reject(new Error(`The benchmark was stopped by ${signal}`)));
}

{
  await using cleanUp = new AsyncDisposableStack();
  await Promise.race([measure(cleanUp), stopped.promise]);
}
isThrough = true;

async function measure(cleanUp: AsyncDisposableStack): Promise<void> {
  const registry = cleanUp.use(await startRegistry());
  const fleet = cleanUp.use(await startFleet());
  const tokens = path.join(fleet.folder, 'tokens.json');
  const shown: string[] = [];
  for (let i = 0; i < clients; i++) {
    shown.push(await createToken(tokens, { name: `client-${i}`, scopes: ['pull'] }));
  }
  const api = cleanUp.use(
    await startApi({
      ...fleet.env,
      DRAY_API_TOKENS: tokens,
      // As dray starts it.
      NODE_OPTIONS: serveOptions.join(' '),
    }),
  );
  const tar = await randomLayer(100_000);
  await pushImage(registry.host, 'bench', 'v1', [tar]);
  const reference = `${registry.host}/bench:v1`;

  const worker = await fleet.startWorker('w1');
  await fleet.ended(await fleet.pull({ reference, nodes: [] }));
  await worker[Symbol.asyncDispose]();

  const redis = new Redis({ path: fleet.server.url.slice('unix://'.length) });
  cleanUp.defer(() => redis.disconnect());
  const adding = cleanUp.use(bareAdd(fleet.server.url));
  // Code that runs for the first time is slower.
  await adding.rateOf(1_000);
  await acceptance(reference, shown, api, 1_000);
  const parts: Acceptance[] = [];
  const rates: number[] = [];
  const used = { redis: 0, api: 0, adding: 0, commands: 0 };
  // By turns: how fast a machine is that others use too changes within seconds.
  for (let i = 0; i < turns; i++) {
    const start = cpuSeconds(process.pid);
    rates.push(await adding.rateOf(total / turns));
    used.adding += cpuSeconds(process.pid) - start;
    const before = { redis: await redisUse(redis), api: cpuSeconds(api.pid) };
    parts.push(await acceptance(reference, shown, api, total / turns));
    const after = { redis: await redisUse(redis), api: cpuSeconds(api.pid) };
    used.redis += after.redis.cpu - before.redis.cpu;
    used.commands += after.redis.commands - before.redis.commands;
    used.api += after.api - before.api;
  }
  const bare = meanRate(rates);
  const micros = (seconds: number) => ((seconds / total) * 1e6).toFixed(0);
  console.log(
    [
      `bare add            ${bare.toFixed(0)} a second, ${clients} in flight`,
      `  CPU of each       ${micros(used.adding)} µs of who adds`,
    ].join('\n'),
  );
  const alone = whole(parts);
  report('accepted', alone, bare);
  console.log(
    [
      `  CPU of each       ${micros(used.api)} µs of the API, ${micros(used.redis)} µs of Redis`,
      `  Redis commands    ${(used.commands / total).toFixed(1)} each, those in scripts too`,
    ].join('\n'),
  );

  await fleet.startWorker('w2');
  const beside = await acceptance(reference, shown, api, total);
  report('with a worker', beside, bare);
  const began = performance.now();
  const ids = [...alone.ids, ...beside.ids];
  const ready = await readyOf(ids, fleet);
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `ready               ${ready} of ${ids.length}, the last ${seconds.toFixed(0)} s later`,
  );
  if (alone.failures + beside.failures > 0 || ready < ids.length) process.exitCode = 1;
}

/** Adds jobs as a pull's, so many at once as there are clients. */
function bareAdd(url: string) {
  const queue = new Queue('bare', {
    connection: { path: url.slice('unix://'.length) },
    prefix: '{bench}',
  });
  return {
    /** @returns how many a second */
    async rateOf(count: number): Promise<number> {
      let left = count;
      const began = performance.now();
      await Promise.all(
        Array.from({ length: clients }, async () => {
          while (left-- > 0) {
            const pull = newPullId();
            const options = { ...resolveJobOptions('normal'), jobId: pull };
            await queue.add('resolve', { v: payloadVersion, pull }, options);
          }
        }),
      );
      return count / ((performance.now() - began) / 1000);
    },
    async [Symbol.asyncDispose]() {
      await queue.obliterate({ force: true });
      await queue.close();
    },
  };
}

/** Of turns of the same length. */
function meanRate(rates: readonly number[]): number {
  return rates.length / rates.reduce((sum, rate) => sum + 1 / rate, 0);
}

/** What came of all turns together. */
function whole(parts: readonly Acceptance[]): Acceptance {
  return {
    ids: parts.flatMap(({ ids }) => ids),
    failures: parts.reduce((sum, { failures }) => sum + failures, 0),
    rate: meanRate(parts.map(({ rate }) => rate)),
    took: parts.flatMap(({ took }) => took).toSorted((a, b) => a - b),
    memory: parts.flatMap(({ memory }) => memory),
  };
}

interface Acceptance {
  ids: string[];
  failures: number;
  rate: number;
  /** Milliseconds of each request, the shortest first. */
  took: number[];
  /** MiB of the API, over time. */
  memory: number[];
}

/** Each client waits for the answer before it asks again, on a connection of its own. */
async function acceptance(
  reference: string,
  shown: readonly string[],
  api: { url: string; pid: number },
  count: number,
): Promise<Acceptance> {
  const memory: number[] = [];
  const sampling = setInterval(() => void rssOf(api.pid).then((mb) => memory.push(mb)), 250);
  const body = JSON.stringify({ reference, policy: 'missing' });
  const ids: string[] = [];
  const took: number[] = [];
  let left = count;
  const began = performance.now();
  await Promise.all(
    shown.map(async (token) => {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
      using client = await RawClient.open(api.url, {
        ...{ method: 'POST', path: '/v1/pulls', headers, body },
      });
      while (!client.isClosed && left-- > 0) {
        const sent = performance.now();
        const id = await accepted(client).catch(() => undefined);
        took.push(performance.now() - sent);
        if (id !== undefined) ids.push(id);
      }
    }),
  );
  clearInterval(sampling);
  const rate = ids.length / ((performance.now() - began) / 1000);
  took.sort((a, b) => a - b);
  return { ids, failures: count - ids.length, rate, took, memory };
}

/** @returns the id of the pull; undefined when it was not accepted */
async function accepted(client: RawClient): Promise<string | undefined> {
  const { status, head } = await client.send();
  return status === 202 ? /\r\nlocation: \/v1\/pulls\/(\w+)/i.exec(head)?.[1] : undefined;
}

function report(title: string, { ids, failures, rate, took, memory }: Acceptance, bare: number) {
  const at = (share: number) => took[Math.floor(share * (took.length - 1))] ?? 0;
  const mean = (part: number[]) => part.reduce((sum, each) => sum + each, 0) / part.length;
  const half = Math.floor(memory.length / 2);
  console.log(
    [
      `${title.padEnd(20)}${ids.length} by ${clients} clients, ${failures} failed`,
      `  a second          ${rate.toFixed(0)}: ${(rate / bare).toFixed(2)} of the bare add`,
      `  latency           p50 ${at(0.5).toFixed(0)} ms, p99 ${at(0.99).toFixed(0)} ms`,
      `  memory of the API ${mean(memory.slice(0, half)).toFixed(0)} MiB in the first half, ${mean(memory.slice(half)).toFixed(0)} MiB in the second, ${Math.max(...memory).toFixed(0)} MiB at most`,
    ].join('\n'),
  );
}

/** How many of the pulls are ready once all have ended. */
async function readyOf(ids: readonly string[], { redis, config }: TestFleet): Promise<number> {
  const records = new PullRecords(redis, config.redis.prefix);
  while ((await records.open()).length > 0) await sleep(250);
  const states = await Promise.all(ids.map((id) => records.state(id)));
  return states.filter((state) => state === 'ready').length;
}

async function rssOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}
