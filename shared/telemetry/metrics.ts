import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';

/**
 * What this process measures, in base units, with labels of few values: never a digest or a reference.
 * Each part adds its own; `metrics.listen` serves them.
 */
export const metrics = new Registry();

collectDefaultMetrics({ register: metrics });
// Gauges that call themselves totals.
for (const what of ['handles', 'requests', 'resources']) {
  metrics.removeSingleMetric(`nodejs_active_${what}_total`);
}

const seconds = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];

export const jobDuration = new Histogram({
  name: 'dray_job_duration_seconds',
  help: 'How long a job ran, by how it ended: done, retried, delayed or failed',
  labelNames: ['queue', 'outcome'] as const,
  buckets: seconds,
  registers: [metrics],
});

export const jobWait = new Histogram({
  name: 'dray_job_wait_seconds',
  help: 'How long a job had waited when it was first taken',
  labelNames: ['queue'] as const,
  buckets: seconds,
  registers: [metrics],
});

/** Workers count what they fetched from registries, agents what they took from the store and what the node had. */
export const bytes = new Counter({
  name: 'dray_bytes_total',
  help: 'Bytes of blobs as stored, by where they came from: registry (fetched into the store), store (read by a node), node (a layer that the node had unpacked already: not read again)',
  labelNames: ['source'] as const,
  registers: [metrics],
});

export const cachedBytes = new Counter({
  name: 'dray_cached_bytes_total',
  help: 'Bytes of blobs that a pull needed and the content store had already: none of them was fetched',
  registers: [metrics],
});

const pullSeconds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

/** Whoever ends a pull measures it: each pull once. */
export const pullDuration = new Histogram({
  name: 'dray_pull_duration_seconds',
  help: 'From the acceptance of a pull to its end, by how it ended: ready, failed or cancelled',
  labelNames: ['outcome'] as const,
  buckets: pullSeconds,
  registers: [metrics],
});

export const pullPhaseDuration = new Histogram({
  name: 'dray_pull_phase_duration_seconds',
  help: 'The parts of a pull that got ready, which add up to the whole: resolve (until it was known what it needs), fetch (until the store had all of it), unpack (until every node had)',
  labelNames: ['phase'] as const,
  buckets: pullSeconds,
  registers: [metrics],
});

/** A queue's name as a label: that of all nodes together. */
export function queueLabel(name: string): string {
  return name.split('@')[0] ?? name;
}
