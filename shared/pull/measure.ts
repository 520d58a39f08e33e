import { pullDuration, pullPhaseDuration } from '../telemetry/metrics.ts';
import { type EndedPull, pullEnded } from './settle.ts';

/** Measures each pull that this process ends. */
export function measurePulls(): void {
  pullEnded.subscribe((ended) => measurePull(ended as EndedPull));
}

function measurePull({ state, times }: EndedPull): void {
  const [created = 0, planned = 0, stored = 0, ended = 0] = times;
  const seconds = (from: number, to: number) => Math.max(0, to - from) / 1000;
  pullDuration.observe({ outcome: state }, seconds(created, ended));
  // A pull of an older worker has no times in between.
  if (state !== 'ready' || planned === 0 || stored === 0) return;
  pullPhaseDuration.observe({ phase: 'resolve' }, seconds(created, planned));
  pullPhaseDuration.observe({ phase: 'fetch' }, seconds(planned, stored));
  pullPhaseDuration.observe({ phase: 'unpack' }, seconds(stored, ended));
}
