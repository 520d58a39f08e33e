import { setTimeout as sleep } from 'node:timers/promises';
import { DrayError } from '../../shared/errors.ts';
import type { PullRecord } from '../../shared/pull/record.ts';
import type { Redis } from '../../shared/queue/connection.ts';
import { type JobQueues, queuePriority } from '../../shared/queue/jobs.ts';
import { resolveQueue, unpackQueue } from '../../shared/queue/names.ts';
import { followUps } from './resolve.ts';
import type { FleetServices } from './services.ts';

/** Milliseconds between two rounds; one worker of the fleet does each. */
const interval = 3_000;
/** Milliseconds after which the oldest pull passes others. */
const raisedAfter = 60_000;

export interface ReconcileServices extends Pick<FleetServices, 'records' | 'store' | 'log'> {
  redis: Redis;
  queues: JobQueues;
}

/**
 * Mends what the death of a process between two steps left undone: it compares what open pulls wait for with what
 * the store holds and the queues have, and enqueues what is missing. Everything it does could run twice.
 * Ends when `signal` aborts.
 */
export async function reconcileForever(
  services: ReconcileServices,
  options: { signal: AbortSignal },
): Promise<void> {
  const { redis, records, log } = services;
  while (!options.signal.aborted) {
    try {
      const mine = await redis.set(records.keys.reconcileLock, process.pid, 'PX', interval, 'NX');
      if (mine === 'OK') await reconcile(services, options);
    } catch (error) {
      if (!options.signal.aborted) log.warn({ err: error }, 'reconciling failed; trying again');
    }
    await sleep(interval, undefined, options).catch(() => {});
  }
}

/** One round over all open pulls. */
export async function reconcile(
  services: ReconcileServices,
  options: { signal: AbortSignal },
): Promise<void> {
  const open = await services.records.open();
  await raiseOldest(open, services);
  for (const id of open) {
    options.signal.throwIfAborted();
    await mend(id, services, options);
  }
}

/**
 * So that nothing starves however many pulls of higher priority come: the oldest pull that has waited for a minute
 * is raised to the highest one. One a round: a crowd of old pre-pulls would otherwise stand before people's pulls.
 */
async function raiseOldest(open: string[], { records }: ReconcileServices): Promise<void> {
  // Ids sort by time.
  for (const id of open.toSorted()) {
    const record = await records.get(id);
    if (record === undefined || record.priority === 'high') continue;
    if (Date.now() - record.createdAt.getTime() > raisedAfter) await records.raise(id);
    return;
  }
}

async function mend(
  id: string,
  services: ReconcileServices,
  options: { signal: AbortSignal },
): Promise<void> {
  const { records, queues } = services;
  const record = await records.get(id);
  if (record === undefined) {
    await services.redis.srem(records.keys.open, id);
    return;
  }
  if (!record.planned) {
    await mendResolve(record, services);
    return;
  }
  const jobs = await followUps(id, services, options);
  for (const job of jobs) {
    // A job that ended without its outcome being recorded blocks its id.
    if (job.queue === 'unpack') await queues.forget(unpackQueue(job.node), id);
  }
  await queues.add(jobs);
  await records.settle(id);
}

async function mendResolve(record: PullRecord, services: ReconcileServices): Promise<void> {
  const { records, queues } = services;
  const { id, priority } = record;
  const job = await queues.queue(resolveQueue).getJob(id);
  if (job === undefined || job.priority > queuePriority(priority)) {
    await queues.add([{ queue: 'resolve', pull: id, priority }]);
  } else if (await job.isFailed()) {
    await records.fail(
      id,
      new DrayError('INTERNAL', `Resolving failed: ${job.failedReason}`, {
        hint: 'Pull again; if it fails again, look into the logs of the workers.',
      }),
    );
  } else if (await job.isCompleted()) {
    await queues.forget(resolveQueue, id);
  }
}
