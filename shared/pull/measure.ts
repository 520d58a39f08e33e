import { pullDuration, pullPhaseDuration } from '../telemetry/metrics.ts';
import type { PullState } from './status.ts';

/**
 * Measures a pull that has ended.
 * @param times when it was created, when it was known what it needs, when the store had that, and when it ended:
 *   milliseconds, 0 for what did not happen
 */
export function measurePull(state: PullState, times: readonly number[]): void {
  const [created = 0, planned = 0, stored = 0, ended = 0] = times;
  const seconds = (from: number, to: number) => Math.max(0, to - from) / 1000;
  pullDuration.observe({ outcome: state }, seconds(created, ended));
  // A pull of an older worker has no times in between.
  if (state !== 'ready' || planned === 0 || stored === 0) return;
  pullPhaseDuration.observe({ phase: 'resolve' }, seconds(created, planned));
  pullPhaseDuration.observe({ phase: 'fetch' }, seconds(planned, stored));
  pullPhaseDuration.observe({ phase: 'unpack' }, seconds(stored, ended));
}
