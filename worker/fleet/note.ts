import type { DrayError } from '../../shared/errors.ts';
import type { Tries } from '../../shared/queue/consume.ts';

/** Milliseconds. What is over before it is read is not said. */
const shortest = 1_000;

/**
 * What people read while a pull waits: why, until when where that is known, how often it was tried, and what they can
 * do.
 * @returns undefined for what is not worth it
 */
export function noteOf(
  { message, context, hint }: DrayError,
  tries?: Tries,
  now = Date.now(),
): string | undefined {
  const { retryAfterMs } = context;
  const why = `${message}${hint === undefined ? '' : `. ${hint}`}`;
  if (typeof retryAfterMs !== 'number') {
    const count = tries === undefined ? '' : ` (try ${tries.made} of ${tries.most} failed)`;
    return `waiting${count}: ${why}`;
  }
  if (retryAfterMs < shortest) return undefined;
  const until = new Date(now + retryAfterMs).toISOString().replace(/\.\d+/, '');
  return `waiting until ${until}: ${why}`;
}
