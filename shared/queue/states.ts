import type { Job, Queue } from 'bullmq';
import { priorities } from '../pull/priority.ts';
import { type JobQueues, queuePriority } from './jobs.ts';
import { fetchQueue, resolveQueue, unpackQueue } from './names.ts';

/** How a queue stands. */
export interface QueueState {
  name: string;
  /** Jobs by BullMQ's states. Waiting are those that a worker could take now; delayed ones wait for a time. */
  jobs: Record<string, number>;
  /** Seconds for which the first of the waiting jobs has been there. */
  oldestWaitingSeconds?: number;
  /** Seconds for which the oldest of the delayed jobs has been there: it waits for a limit, or after a failure. */
  oldestDelayedSeconds?: number;
  /** Who takes from it. */
  workers: number;
}

/** Delayed jobs of which the oldest is looked for: those that are due first. */
const delayedSample = 200;

const states = ['waiting', 'prioritized', 'active', 'delayed', 'failed'] as const;

/** The queues of the fleet as they stand: resolve, fetch-blob, and each node's own. */
export async function queueStates(
  queues: JobQueues,
  nodes: readonly { name: string }[],
): Promise<QueueState[]> {
  const names = [resolveQueue, fetchQueue, ...nodes.map(({ name }) => unpackQueue(name))];
  return await Promise.all(names.map((name) => queueState(queues, name)));
}

async function queueState(queues: JobQueues, name: string): Promise<QueueState> {
  const queue = queues.queue(name);
  const [jobs, waiting, prioritized, delayed, workers] = await Promise.all([
    queue.getJobCounts(...states),
    queue.getWaiting(-1, -1),
    firstOfEachPriority(queue),
    queue.getDelayed(0, delayedSample - 1),
    queue.getWorkersCount(),
  ]);
  const added = [...waiting, ...prioritized];
  const age = (of: Job[]) =>
    Math.max(0, Date.now() - Math.min(...of.map(({ timestamp }) => timestamp))) / 1000;
  return {
    name,
    jobs,
    workers,
    ...(added.length === 0 ? {} : { oldestWaitingSeconds: age(added) }),
    ...(delayed.length === 0 ? {} : { oldestDelayedSeconds: age(delayed) }),
  };
}

/** The prioritized jobs are sorted by priority, then by when they came. */
async function firstOfEachPriority(queue: Queue): Promise<Job[]> {
  const ordered = priorities.flatMap((each) => [queuePriority(each, true), queuePriority(each)]);
  const counts = await queue.getCountsPerPriority(ordered);
  const first: Job[] = [];
  let position = 0;
  for (const each of ordered) {
    const count = counts[each] ?? 0;
    if (count > 0) first.push(...(await queue.getPrioritized(position, position)));
    position += count;
  }
  return first;
}
