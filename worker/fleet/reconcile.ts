import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { DrayError } from '../../shared/errors.ts';
import type { JobQueues } from '../../shared/queue/jobs.ts';
import { resolveQueue, unpackQueue } from '../../shared/queue/names.ts';
import { followUps } from './resolve.ts';
import type { FleetServices } from './services.ts';

/** Milliseconds between two rounds; one worker of the fleet does each. */
const interval = 3_000;

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
  for (const id of await services.records.open()) {
    options.signal.throwIfAborted();
    await mend(id, services, options);
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
    await mendResolve(id, services);
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

async function mendResolve(id: string, services: ReconcileServices): Promise<void> {
  const { records, queues } = services;
  const job = await queues.queue(resolveQueue).getJob(id);
  if (job === undefined) {
    await queues.add([{ queue: 'resolve', pull: id }]);
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
