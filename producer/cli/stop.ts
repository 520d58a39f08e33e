import { DrayError } from '../../shared/errors.ts';
import type { AgentClient } from '../agent/client.ts';
import { outlastAgent } from './outlast-agent.ts';

export interface StopOptions {
  connect: () => Promise<AgentClient>;
  /** Milliseconds, instead of its own. */
  timeout?: number;
}

/** Stops a container, also when its agent is replaced meanwhile: it is asked once. @throws NOT_FOUND, AGENT_UNAVAILABLE */
export async function stopContainer(id: string, { connect, timeout }: StopOptions): Promise<void> {
  const stop = async ({ containers }: AgentClient) => {
    await containers.stop(id, timeout === undefined ? {} : { timeout });
  };
  const say = (message: string) => process.stderr.write(`${message}\n`);
  try {
    const what = `container ${id} is stopped all the same`;
    await outlastAgent({ connect, say }, what, stop, (client) => goOn(client, id, stop));
  } catch (error) {
    if (!(error instanceof DrayError) || error.code !== 'AGENT_UNAVAILABLE') throw error;
    throw new DrayError('AGENT_UNAVAILABLE', error.message, {
      cause: error,
      retryable: true,
      hint: `A stop that an agent has heard of stands, also for the next one. See: dray ps --all; ask again: dray stop ${id}`,
    });
  }
}

/** @param stop asks the agent that there is now, where the one before had not heard of it */
async function goOn(
  client: AgentClient,
  id: string,
  stop: (client: AgentClient) => Promise<void>,
): Promise<void> {
  try {
    const { killAt } = await client.containers.inspect(id);
    if (killAt === undefined) await stop(client);
    else await client.containers.wait(id);
  } catch (error) {
    // It has ended, and was to be removed then.
    if (!(error instanceof DrayError) || error.code !== 'NOT_FOUND') throw error;
  }
}
