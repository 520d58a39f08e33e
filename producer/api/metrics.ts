import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, Gauge } from 'prom-client';
import { listNodes } from '../../shared/node/registry.ts';
import { queueStates } from '../../shared/queue/states.ts';
import { metrics, queueLabel } from '../../shared/telemetry/metrics.ts';
import type { ApiServices } from './services.ts';

export const requests = new Counter({
  name: 'dray_api_requests_total',
  help: 'Requests to the HTTP API by operation and HTTP status',
  labelNames: ['operation', 'code'] as const,
  registers: [metrics],
});

/** Milliseconds. */
const lookBound = 3_000;

/**
 * Lets a scrape see the queues, the nodes and the open pulls of the fleet; the unpack queues of all nodes count as
 * one. While Redis is away there is none of it.
 */
export function measureFleet({
  redis,
  queues,
  records,
  config,
}: Pick<ApiServices, 'redis' | 'queues' | 'records' | 'config'>): void {
  const gauge = (name: string, help: string, labelNames: string[]) =>
    new Gauge({ name, help, labelNames, registers: [metrics], collect: refresh });
  const jobs = gauge('dray_queue_jobs', 'Jobs of a queue by state', ['queue', 'state']);
  const workers = gauge('dray_queue_workers', 'Workers or agents that take jobs of a queue', [
    'queue',
  ]);
  const oldest = gauge(
    'dray_queue_oldest_job_seconds',
    'The age of the oldest job, by state: waiting (it could be taken now, whatever its priority) or delayed (it waits for a limit, or after a failure); 0 when there is none',
    ['queue', 'state'],
  );
  const nodes = gauge('dray_nodes', 'Nodes by state: ready, or lost (not heard of for 30 s)', [
    'state',
  ]);
  const pulls = gauge('dray_pulls_open', 'Pulls that have not ended', []);
  const oldestPull = gauge(
    'dray_pulls_oldest_open_seconds',
    'The age of the oldest pull that has not ended; 0 when there is none',
    [],
  );
  const all = [jobs, workers, oldest, nodes, pulls, oldestPull];
  let refreshing: Promise<void> | undefined;

  /** All come from one look; a scrape does not wait for a Redis that is away. */
  async function refresh(): Promise<void> {
    refreshing ??= look()
      .catch(() => {})
      .finally(() => {
        refreshing = undefined;
      });
    await Promise.race([refreshing, sleep(lookBound, undefined, { ref: false })]);
  }

  async function look(): Promise<void> {
    for (const each of all) each.reset();
    // Without labels there is a 0 otherwise, which would be a lie.
    for (const each of [pulls, oldestPull]) each.remove();
    if (redis.status !== 'ready') return;
    const now = new Date();
    const registered = await listNodes(redis, config.redis.prefix);
    const [states, open] = await Promise.all([queueStates(queues, registered), records.open()]);
    const ages = new Map<string, number>();
    for (const state of states) {
      const queue = queueLabel(state.name);
      for (const [name, count] of Object.entries(state.jobs)) {
        jobs.inc({ queue, state: name }, count);
      }
      workers.inc({ queue }, state.workers);
      const { oldestWaitingSeconds: waiting = 0, oldestDelayedSeconds: delayed = 0 } = state;
      for (const [name, age] of Object.entries({ waiting, delayed })) {
        const key = `${queue} ${name}`;
        ages.set(key, Math.max(age, ages.get(key) ?? 0));
        oldest.set({ queue, state: name }, ages.get(key) ?? 0);
      }
    }
    const lost = registered.filter(({ state }) => state === 'lost').length;
    nodes.set({ state: 'lost' }, lost);
    nodes.set({ state: 'ready' }, registered.length - lost);
    pulls.set(open.length);
    // Ids sort by time.
    const [first] = open.toSorted();
    const record = first === undefined ? undefined : await records.get(first);
    oldestPull.set(record === undefined ? 0 : (now.getTime() - record.createdAt.getTime()) / 1000);
  }
}
