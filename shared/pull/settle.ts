import { channel } from 'node:diagnostics_channel';
import { isFinished, type PullState } from './status.ts';

/** What became of a pull by a change of one of its facts. */
export interface PullOutcome {
  state: PullState;
  isOver: boolean;
}

/** A pull that this process has ended. */
export interface EndedPull {
  state: PullState;
  /** When it was created, when it was known what it needs, when the store had that, and when it ended: milliseconds, 0 for what did not happen. */
  times: readonly number[];
}

/** Carries each {@link EndedPull}; commands, which nobody asks for metrics, need not load what measures it. */
export const pullEnded = channel('drayage.pull.ended');

/** Reads what a script that settles a pull has returned; the one call that ended it tells {@link pullEnded}. */
export function outcomeOf(result: unknown, now: number): PullOutcome | undefined {
  if (!Array.isArray(result)) return undefined;
  const [state, ...times] = result as [PullState, ...string[]];
  if (times.length > 0) {
    pullEnded.publish({ state, times: [...times.map(Number), now] } satisfies EndedPull);
  }
  return { state, isOver: isFinished(state) };
}
