import type { PullStatus } from '../../../shared/pull/status.ts';

export const progressForms = ['auto', 'plain', 'tty', 'json', 'none'] as const;
export type ProgressForm = (typeof progressForms)[number];

/** Shows a pull while it goes on. Disposed before its end, it leaves the terminal in order. */
export interface ProgressView extends Disposable {
  update(status: PullStatus): void;
  /** The last state. */
  finish(status: PullStatus): void;
  /** A line beside the pull's own, which stays. */
  say(line: string): void;
}
