import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';

/**
 * What this process measures, in base units, with labels of few values: never a digest or a reference.
 * Each part adds its own; `metrics.listen` serves them.
 */
export const metrics = new Registry();

collectDefaultMetrics({ register: metrics });

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

/** Bytes of blobs by where they came from: the registry, or the content store. */
export const bytes = new Counter({
  name: 'dray_bytes_total',
  help: 'Bytes of blobs that were brought whole, by where they came from',
  labelNames: ['source'] as const,
  registers: [metrics],
});

/** A queue's name as a label: that of all nodes together. */
export function queueLabel(name: string): string {
  return name.split('@')[0] ?? name;
}
