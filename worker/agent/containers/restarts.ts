import type { Container } from './container.ts';

/** Milliseconds before the first restart; each that follows soon waits twice as long. */
const leastBackoff = 100;
const mostBackoff = 60_000;
/** Milliseconds that a container runs to count as one that works: the next wait is short again. */
const enough = 10_000;

/**
 * What becomes of a container that has ended, by its restart policy: as docker has it, but that one which
 * somebody stopped is never started by it, until somebody does.
 * @returns it in state restarting, with the wait before it, or undefined when it stays as it is
 */
export function planRestart(container: Container): Container | undefined {
  const { options, exitCode, restarts, stopRequested, startedAt, finishedAt, backoff } = container;
  const { name, maxRetries } = options.restart ?? { name: 'no' };
  if (stopRequested || name === 'no') return undefined;
  if (name === 'on-failure') {
    if (exitCode === 0 || (maxRetries !== undefined && restarts >= maxRetries)) return undefined;
  }
  const ran = (finishedAt?.getTime() ?? 0) - (startedAt?.getTime() ?? 0);
  const isQuick = backoff > 0 && ran < enough;
  return {
    ...container,
    state: 'restarting',
    restarts: restarts + 1,
    backoff: isQuick ? Math.min(2 * backoff, mostBackoff) : leastBackoff,
  };
}
