import type { Ulimit } from '../../../shared/agent/run-options.ts';

/** What a runtime says when a limit keeps it from its own work, and the limits that can. */
const signs: readonly [RegExp, readonly string[]][] = [
  [/too many open files/i, ['nofile']],
  [/cannot allocate memory|out of memory/i, ['as', 'data', 'stack', 'memlock']],
  [/resource temporarily unavailable/i, ['nproc', 'sigpending']],
  [/file too large/i, ['fsize']],
];

/**
 * The limits of a container that were too low for the runtime itself, which sets it up within them.
 * @param message of the runtime @returns as `nofile=1`; empty: it was not that
 */
export function lowLimits(
  message: string,
  limits: readonly Pick<Ulimit, 'name' | 'soft'>[],
): string[] {
  const suspects = signs.flatMap(([sign, names]) => (sign.test(message) ? names : []));
  return limits
    .filter(({ name, soft }) => suspects.includes(name) && soft >= 0 && Number.isFinite(soft))
    .map(({ name, soft }) => `${name}=${soft}`);
}
