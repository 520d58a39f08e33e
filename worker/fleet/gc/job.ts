import { setTimeout as sleep } from 'node:timers/promises';
import { measured } from '../../../shared/gc/metrics.ts';
import { emptyReport, type GcReport } from '../../../shared/gc/report.ts';
import { GcRequests, storePart } from '../../../shared/gc/requests.ts';
import type { GcConfig } from '../../../shared/gc/settings.ts';
import {
  type ConsumerServices,
  consume,
  settled,
  stopConsuming,
} from '../../../shared/queue/consume.ts';
import { gcQueue, keysOf } from '../../../shared/queue/names.ts';
import { parseGcPayload } from '../../../shared/queue/payloads.ts';
import { type CollectServices, collect } from './collect.ts';
import { GcRun } from './run.ts';

/** Milliseconds between two looks whether the collection that goes on is over. */
const poll = 300;
/** Milliseconds between two looks whether it is time. */
const look = 30_000;

type Services = CollectServices & ConsumerServices & { cleanUp: AsyncDisposableStack };

/** Collects garbage in the store from time to time, one worker for the fleet, and when somebody asks for it. */
export async function collectGarbage(config: GcConfig, services: Services): Promise<void> {
  const { redis, prefix, log, stopping, cleanUp } = services;
  const requests = new GcRequests(redis, prefix);
  const { graceMs, retention } = config;
  const worker = consume(
    {
      queue: gcQueue,
      concurrency: 1,
      parse: parseGcPayload,
      handle: async ({ request, dryRun, ...asked }, { signal }) => {
        if (await requests.answered(request, storePart)) return [];
        await using run = await begin(services, signal);
        const options = { graceMs, ...asked, retention, dryRun, signal };
        const report = await collect(run, services, options);
        tell(report, dryRun);
        await requests.answer(request, storePart, report);
        return [];
      },
      gaveUp: async ({ request }, { message }) => {
        await requests.answer(request, storePart, { ...emptyReport(), problems: [message] });
      },
    },
    services,
  );
  cleanUp.defer(() => stopConsuming(worker, redis));
  await worker.waitUntilReady();

  const ended = new AbortController();
  const signal = AbortSignal.any([stopping, ended.signal]);
  const regularly = (async () => {
    const { gcRest } = keysOf(prefix);
    for (; !signal.aborted; await sleep(look, undefined, { signal }).catch(() => {})) {
      try {
        const isTime = (await redis.set(gcRest, '1', 'PX', config.intervalMs, 'NX')) === 'OK';
        await using run = isTime ? await GcRun.begin(redis, prefix) : undefined;
        if (run === undefined) continue;
        tell(await collect(run, services, { graceMs, retention, dryRun: false, signal }), false);
      } catch (error) {
        if (!signal.aborted) log.warn({ err: error }, 'collecting garbage in the store failed');
      }
    }
  })();
  cleanUp.defer(async () => {
    ended.abort();
    await settled(regularly, redis);
  });

  function tell(report: GcReport, dryRun: boolean): void {
    for (const problem of report.problems) log.warn(`garbage collection: ${problem}`);
    if (dryRun) return;
    const sum = measured(report);
    if (sum.removed > 0) log.info(sum, 'garbage of the store was removed');
  }
}

async function begin({ redis, prefix }: Services, signal: AbortSignal): Promise<GcRun> {
  for (;;) {
    const run = await GcRun.begin(redis, prefix);
    if (run !== undefined) return run;
    await sleep(poll, undefined, { signal });
  }
}
