import { messageOf } from '../../shared/errors.ts';
import type { Redis } from '../../shared/queue/connection.ts';

/** Workers that are connected to a fleet's Redis; undefined where this user of Redis may not know. */
export async function countWorkers(redis: Redis, prefix: string): Promise<number | undefined> {
  const { JobQueues } = await import('../../shared/queue/jobs.ts');
  await using queues = new JobQueues(redis, prefix);
  try {
    return await queues.queue('resolve').getWorkersCount();
  } catch (error) {
    if (/NOPERM/.test(messageOf(error))) return undefined;
    throw error;
  }
}
