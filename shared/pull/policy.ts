import { parseDuration } from '../duration.ts';
import { DrayError } from '../errors.ts';

/**
 * When a tag that the store has is asked of its registry again: always; never; or when the registry was asked
 * last more than some milliseconds ago.
 */
export type PullPolicy =
  | { kind: 'always' }
  | { kind: 'missing' }
  | { kind: 'if-stale'; afterMs: number };

/** Reads `always`, `missing` or `if-stale=DURATION`. @throws USAGE */
export function parsePullPolicy(text: string): PullPolicy {
  if (text === 'always' || text === 'missing') return { kind: text };
  const prefix = 'if-stale=';
  const afterMs = text.startsWith(prefix) ? parseDuration(text.slice(prefix.length)) : undefined;
  if (afterMs !== undefined) return { kind: 'if-stale', afterMs };
  throw new DrayError('USAGE', `"${text}" does not say when to pull`, {
    hint: 'Choose always, missing, or if-stale=DURATION, as in if-stale=30m, 12h or 7d.',
  });
}

/** Whether what the registry said at `askedAt` is enough by the policy. */
export function isFresh(policy: PullPolicy, askedAt: Date, now = new Date()): boolean {
  switch (policy.kind) {
    case 'always':
      return false;
    case 'missing':
      return true;
    case 'if-stale':
      return now.getTime() - askedAt.getTime() <= policy.afterMs;
  }
}
