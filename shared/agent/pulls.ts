/** Pulls to the agent's own node: the words of both sides of its API. */
import type { Pace } from '../pull/pace.ts';
import type { Priority } from '../pull/priority.ts';

export interface PullHereRequest {
  /** The pull's: the caller makes it, so that a request whose answer was lost can be repeated. */
  id: string;
  reference: string;
  platform?: string | undefined;
  credential?: string | undefined;
  priority?: Priority | undefined;
  policy?: string | undefined;
  pace?: Pace | undefined;
}
