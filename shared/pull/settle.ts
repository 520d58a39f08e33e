import { measurePull } from './measure.ts';
import { isFinished, type PullState } from './status.ts';

/** What became of a pull by a change of one of its facts. */
export interface PullOutcome {
  state: PullState;
  isOver: boolean;
}

/** Reads what a script that settles a pull has returned; the one call that ended it measures it. */
export function outcomeOf(result: unknown, now: number): PullOutcome | undefined {
  if (!Array.isArray(result)) return undefined;
  const [state, ...times] = result as [PullState, ...string[]];
  if (times.length > 0) measurePull(state, [...times.map(Number), now]);
  return { state, isOver: isFinished(state) };
}
