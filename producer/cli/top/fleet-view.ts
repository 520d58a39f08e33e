import { listNodes, type NodeInfo } from '../../../shared/node/registry.ts';
import { PullSummaries, type PullSummary } from '../../../shared/pull/summary.ts';
import type { Redis } from '../../../shared/queue/connection.ts';
import { JobQueues } from '../../../shared/queue/jobs.ts';
import { queueStates } from '../../../shared/queue/states.ts';

/** A queue, or those of all nodes together. */
export interface QueueRow {
  name: string;
  /** Could be taken now. */
  waiting: number;
  active: number;
  delayed: number;
  failed: number;
  oldestSeconds: number;
  workers: number;
}

/** A fleet at one moment. */
export interface FleetView {
  queues: QueueRow[];
  nodes: (NodeInfo & { unpacking: number })[];
  /** That have not ended, newest first; `open` counts those that are not shown, too. */
  pulls: PullSummary[];
  open: number;
}

/** Pulls that are read at most: no screen shows more. */
const mostPulls = 200;

/** Looks at a fleet, again and again. */
export class FleetWatch implements AsyncDisposable {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #queues: JobQueues;
  readonly #summaries: PullSummaries;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#queues = new JobQueues(redis, prefix);
    this.#summaries = new PullSummaries(redis, prefix);
  }

  async look(): Promise<FleetView> {
    const nodes = await listNodes(this.#redis, this.#prefix);
    const [states, pulls, open] = await Promise.all([
      queueStates(this.#queues, nodes),
      this.#summaries.open(mostPulls),
      this.#summaries.countOpen(),
    ]);
    const rows = new Map<string, QueueRow>();
    for (const { name, jobs, workers, oldestWaitingSeconds = 0 } of states) {
      const [queue = name] = name.split('@');
      const row = rows.get(queue) ?? emptyRow(queue === name ? name : `${queue} (all nodes)`);
      rows.set(queue, row);
      row.waiting += (jobs.waiting ?? 0) + (jobs.prioritized ?? 0);
      row.active += jobs.active ?? 0;
      row.delayed += jobs.delayed ?? 0;
      row.failed += jobs.failed ?? 0;
      row.workers += workers;
      row.oldestSeconds = Math.max(row.oldestSeconds, oldestWaitingSeconds);
    }
    const activeOf = new Map(states.map(({ name, jobs }) => [name, jobs.active ?? 0]));
    return {
      queues: [...rows.values()],
      nodes: nodes.map((node) => ({
        ...node,
        unpacking: activeOf.get(`unpack@${node.name}`) ?? 0,
      })),
      pulls,
      open,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queues[Symbol.asyncDispose]();
  }
}

function emptyRow(name: string): QueueRow {
  return { name, waiting: 0, active: 0, delayed: 0, failed: 0, oldestSeconds: 0, workers: 0 };
}
