import { Counter } from 'prom-client';
import { metrics } from '../telemetry/metrics.ts';
import type { GcReport } from './report.ts';

const removedBytes = new Counter({
  name: 'dray_gc_removed_bytes_total',
  help: 'Bytes that garbage collections of this program removed: from the content store (worker) or the node (agent)',
  registers: [metrics],
});

const runs = new Counter({
  name: 'dray_gc_runs_total',
  help: 'Garbage collections of this program by outcome: done, or incomplete when something kept it from its work',
  labelNames: ['outcome'] as const,
  registers: [metrics],
});

/** Counts a collection that was no dry run. @returns what it comes to, for the log */
export function measured({ items, problems }: GcReport): { removed: number; bytes: number } {
  const bytes = items.reduce((sum, item) => sum + item.bytes, 0);
  removedBytes.inc(bytes);
  runs.inc({ outcome: problems.length === 0 ? 'done' : 'incomplete' });
  return { removed: items.length, bytes };
}
