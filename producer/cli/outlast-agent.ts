import { DrayError, errnoOf } from '../../shared/errors.ts';
import type { AgentClient } from '../agent/client.ts';
import { type FollowOptions, withAgent } from './foreground.ts';

/**
 * Calls the agent. When it dies in the middle, which is said, its successor is waited for within a bound, and asked.
 * @param what it says of the container then
 * @param again of the successor; default: the same
 * @throws AGENT_UNAVAILABLE at once where none is there to begin with
 */
export async function outlastAgent<T>(
  options: FollowOptions,
  what: string,
  call: (client: AgentClient) => Promise<T>,
  again: (client: AgentClient) => Promise<T> = call,
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      if (attempt > 0) return await withAgent(options, again);
      return await call(await options.connect());
    } catch (error) {
      if (!wasCutOff(error)) throw error;
      options.say?.(`The agent went away; ${what}. Waiting for the agent …`);
    }
  }
}

/** Whether a connection ended that had been there. */
function wasCutOff(error: unknown): boolean {
  return (
    error instanceof DrayError &&
    error.code === 'AGENT_UNAVAILABLE' &&
    ['ECONNRESET', 'EPIPE', 'ETIMEDOUT'].includes(errnoOf(error.cause) ?? '')
  );
}
