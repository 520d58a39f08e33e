import type { Job, Queue } from 'bullmq';
import type { NodeInfo } from '../node/registry.ts';
import { priorities } from '../pull/priority.ts';
import { type JobQueues, queuePriority } from './jobs.ts';
import { unpackQueue, workerQueues } from './names.ts';

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

/**
 * The queues of the fleet as they stand: those of workers, and each node's own. An idle queue costs one command,
 * so that a thousand nodes can be looked at every few seconds.
 */
export async function queueStates(
  queues: JobQueues,
  nodes: readonly NodeInfo[],
): Promise<QueueState[]> {
  return await Promise.all([
    ...workerQueues.map((name) => queueState(queues.queue(name))),
    // Only its agent takes from a node's queue. Counting connections would list all of the fleet's for each node.
    ...nodes.map((node) =>
      queueState(queues.queue(unpackQueue(node.name)), node.state === 'lost' ? 0 : 1),
    ),
  ]);
}

async function queueState(queue: Queue, taking?: number): Promise<QueueState> {
  const { name } = queue;
  const [jobs, workers] = await Promise.all([
    queue.getJobCounts(...states),
    taking ?? queue.getWorkersCount(),
  ]);
  const has = (state: (typeof states)[number]) => (jobs[state] ?? 0) > 0;
  const [waiting, prioritized, delayed] = await Promise.all([
    has('waiting') ? queue.getWaiting(-1, -1) : [],
    has('prioritized') ? firstOfEachPriority(queue) : [],
    has('delayed') ? queue.getDelayed(0, delayedSample - 1) : [],
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
