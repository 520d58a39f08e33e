import { setTimeout as sleep } from 'node:timers/promises';
import { measured } from '../../../shared/gc/metrics.ts';
import { emptyReport, type GcReport } from '../../../shared/gc/report.ts';
import { GcRequests, nodePart } from '../../../shared/gc/requests.ts';
import type { GcConfig } from '../../../shared/gc/settings.ts';
import {
  type ConsumerServices,
  consume,
  settled,
  stopConsuming,
} from '../../../shared/queue/consume.ts';
import { nodeGcQueue } from '../../../shared/queue/names.ts';
import { parseGcPayload } from '../../../shared/queue/payloads.ts';
import { Claims } from '../snapshot/claims.ts';
import { collectNode, diskOf, type NodeGcServices } from './collect.ts';

/** Milliseconds between two looks at the disk. */
const look = 60_000;

type Services = NodeGcServices & ConsumerServices & { node: string; cleanUp: AsyncDisposableStack };

/** Collects garbage on the node from time to time, when its disk is too full, and when somebody asks for it. */
export async function collectGarbage(config: GcConfig, services: Services): Promise<void> {
  const { redis, prefix, node, log, stopping, cleanUp, root } = services;
  const requests = new GcRequests(redis, prefix);
  const part = nodePart(node);
  const turns = new Claims();
  const { graceMs, intervalMs } = config;

  async function collect(options: {
    graceMs: number;
    dryRun: boolean;
    signal: AbortSignal;
  }): Promise<GcReport> {
    using _turn = await turns.take('gc', options);
    const report = await collectNode(services, { ...options, node: config.node });
    for (const problem of report.problems) log.warn(`garbage collection: ${problem}`);
    if (options.dryRun) return report;
    const sum = measured(report);
    if (sum.removed > 0) log.info(sum, 'garbage of the node was removed');
    return report;
  }

  const worker = consume(
    {
      queue: nodeGcQueue(node),
      concurrency: 1,
      // Whoever waits for an answer asks again.
      stalledInterval: 60_000,
      parse: parseGcPayload,
      handle: async ({ request, dryRun, ...asked }, { signal }) => {
        if (await requests.answered(request, part)) return [];
        await requests.answer(request, part, await collect({ graceMs, ...asked, dryRun, signal }));
        return [];
      },
      gaveUp: async ({ request }, { message }) => {
        await requests.answer(request, part, { ...emptyReport(), problems: [message] });
      },
    },
    services,
  );
  cleanUp.defer(() => stopConsuming(worker, redis));
  await worker.waitUntilReady();

  const ended = new AbortController();
  const signal = AbortSignal.any([stopping, ended.signal]);
  let next = performance.now() + intervalMs;
  const regularly = (async () => {
    for (; !signal.aborted; await sleep(look, undefined, { signal }).catch(() => {})) {
      try {
        const { used, free } = await diskOf(root);
        const isFull = used > ((used + free) * config.node.highWater) / 100;
        if (!isFull && performance.now() < next) continue;
        next = performance.now() + intervalMs;
        await collect({ graceMs, dryRun: false, signal });
      } catch (error) {
        if (!signal.aborted) log.warn({ err: error }, 'collecting garbage on the node failed');
      }
    }
  })();
  cleanUp.defer(async () => {
    ended.abort();
    await settled(regularly, redis);
  });
}
