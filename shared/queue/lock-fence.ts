import type { Job, Worker } from 'bullmq';

/** Milliseconds between two looks. */
const interval = 500;

/**
 * Ends what a worker does for jobs whose locks it could not renew in time: Redis may have given them to others. A
 * renewal that is refused is told by BullMQ; one that gets no answer, since Redis can't be reached or the process
 * stood still, is only seen by the clock.
 * @param lockLife milliseconds after which a lock that was not renewed is taken for lost
 */
export function fenceLocks(worker: Worker, lockLife: number): void {
  const renewedAt = new Map<string, number>();
  const looking = setInterval(() => {
    const now = performance.now();
    for (const [id, at] of renewedAt) {
      if (now - at < lockLife) continue;
      renewedAt.delete(id);
      worker.cancelJob(id, 'its lock could not be renewed');
    }
  }, interval);
  looking.unref();
  const renew = (ids: Iterable<string | undefined>) => {
    const now = performance.now();
    for (const id of ids) if (id !== undefined) renewedAt.set(id, now);
  };
  const forget = (job: Job | undefined) => renewedAt.delete(job?.id ?? '');
  worker.on('active', (job) => renew([job.id]));
  worker.on('locksRenewed', ({ jobIds }) => renew(jobIds.filter((id) => renewedAt.has(id))));
  worker.on('completed', forget);
  worker.on('failed', forget);
  worker.on('closed', () => clearInterval(looking));
}
