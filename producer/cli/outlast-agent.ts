import { DrayError, errnoOf } from '../../shared/errors.ts';
import type { AgentClient } from '../agent/client.ts';
import { type FollowOptions, withAgent } from './foreground.ts';

/**
 * Calls the agent. When it dies in the middle, which is said, its successor is waited for within a bound, and asked.
 * @param again of the successor; default: the same
 * @throws AGENT_UNAVAILABLE at once where none is there to begin with
 */
export async function outlastAgent<T>(
  options: FollowOptions,
  id: string,
  call: (client: AgentClient) => Promise<T>,
  again: (client: AgentClient) => Promise<T> = call,
): Promise<T> {
  try {
    return await call(await options.connect());
  } catch (error) {
    if (!wasCutOff(error)) throw error;
  }
  options.say?.(
    `The agent went away; what was asked for container ${id} stands. Waiting for the agent …`,
  );
  return await withAgent(options, again);
}

/** Whether a connection ended that had been there. */
function wasCutOff(error: unknown): boolean {
  return (
    error instanceof DrayError &&
    error.code === 'AGENT_UNAVAILABLE' &&
    ['ECONNRESET', 'EPIPE', 'ETIMEDOUT'].includes(errnoOf(error.cause) ?? '')
  );
}
