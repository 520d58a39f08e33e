import { setTimeout as sleep } from 'node:timers/promises';
import type { PullRecord } from '../../shared/pull/record.ts';
import { MendRound, type MendServices, mend } from './mend.ts';
import { owedWebhooks } from './webhook/job.ts';

/** Milliseconds between two rounds; one worker of the fleet does each. */
const interval = 3_000;
/** Milliseconds after which the oldest pull passes others. */
const raisedAfter = 60_000;
/** Pulls that one round looks after: it costs no more however many are open. */
const batch = 200;
/** Pulls that fail one after the other: the store is away, or Redis. */
const mostFailures = 3;

/**
 * Mends what the death of a process between two steps left undone: it compares what open pulls wait for with what
 * the store holds and the queues have, and enqueues what is missing. Everything it does could run twice.
 * Ends when `signal` aborts.
 */
export async function reconcileForever(
  services: MendServices,
  options: { signal: AbortSignal },
): Promise<void> {
  const { redis, records, log } = services;
  while (!options.signal.aborted) {
    try {
      const mine = await redis.set(records.keys.reconcileLock, process.pid, 'PX', interval, 'NX');
      if (mine === 'OK') {
        await reconcile(services, options);
        await services.queues.add(await owedWebhooks(records));
      }
    } catch (error) {
      if (!options.signal.aborted) log.warn({ err: error }, 'reconciling failed; trying again');
    }
    await sleep(interval, undefined, options).catch(() => {});
  }
}

/**
 * One round over the open pulls that have waited longest for a look. One that can't be looked after keeps none of the
 * others from their turn.
 * @throws what several in a row have failed with: it is not theirs, and the others would fail too
 */
export async function reconcile(
  services: MendServices,
  options: { signal: AbortSignal },
): Promise<void> {
  const { records, log } = services;
  const now = Date.now();
  const found: PullRecord[] = [];
  let failures = 0;
  const attempt = async (pull: string, work: () => Promise<void>) => {
    options.signal.throwIfAborted();
    try {
      await work();
      failures = 0;
    } catch (error) {
      if (options.signal.aborted || ++failures === mostFailures) throw error;
      log.warn({ err: error, pull }, 'a pull could not be looked after');
    }
  };
  for (const id of await records.due(batch, now)) {
    await attempt(id, async () => {
      await records.lookAt(id, now + interval);
      const record = await records.get(id);
      if (record === undefined) await records.forget(id);
      else found.push(record);
    });
  }
  await raiseOldest(found, services);
  const round = new MendRound(services, options);
  for (const { id } of found) await attempt(id, () => mend(id, services, options, round));
}

/**
 * So that nothing starves however many pulls of higher priority come: the oldest pull that has waited for a minute
 * is raised to the highest one. One a round: a crowd of old pre-pulls would otherwise stand before people's pulls.
 */
async function raiseOldest(found: PullRecord[], { records }: MendServices): Promise<void> {
  // Ids sort by time.
  const [oldest] = found
    .filter(({ priority }) => priority !== 'high')
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  if (oldest === undefined || Date.now() - oldest.createdAt.getTime() <= raisedAfter) return;
  await records.raise(oldest);
}
