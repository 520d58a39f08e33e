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

/** Lets a scrape see the queues of the fleet; the unpack queues of all nodes count as one. */
export function measureQueues({
  redis,
  queues,
  config,
}: Pick<ApiServices, 'redis' | 'queues' | 'config'>): void {
  const gauge = (name: string, help: string, labelNames: string[]) =>
    new Gauge({ name, help, labelNames, registers: [metrics], collect: refresh });
  const jobs = gauge('dray_queue_jobs', 'Jobs of a queue by state', ['queue', 'state']);
  const workers = gauge('dray_queue_workers', 'Workers or agents that take jobs of a queue', [
    'queue',
  ]);
  const oldest = gauge(
    'dray_queue_oldest_waiting_seconds',
    'The age of the oldest job that could be taken now; 0 when none waits',
    ['queue'],
  );
  let refreshing: Promise<void> | undefined;

  /** All three come from one look. */
  async function refresh(): Promise<void> {
    refreshing ??= look().finally(() => {
      refreshing = undefined;
    });
    await refreshing;
  }

  async function look(): Promise<void> {
    const nodes = await listNodes(redis, config.redis.prefix);
    const states = await queueStates(queues, nodes);
    for (const each of [jobs, workers, oldest]) each.reset();
    const ages = new Map<string, number>();
    for (const { name, jobs: counts, workers: taking, oldestWaitingSeconds = 0 } of states) {
      const queue = queueLabel(name);
      for (const [state, count] of Object.entries(counts)) jobs.inc({ queue, state }, count);
      workers.inc({ queue }, taking);
      ages.set(queue, Math.max(oldestWaitingSeconds, ages.get(queue) ?? 0));
    }
    for (const [queue, age] of ages) oldest.set({ queue }, age);
  }
}
