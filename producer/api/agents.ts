import { DrayError } from '../../shared/errors.ts';
import { AgentClient } from '../agent/client.ts';
import { isLocalNode } from '../agent/endpoint.ts';
import { openRemoteAgent } from '../agent/remote.ts';
import type { ApiServices } from './services.ts';

/** Milliseconds in which an agent must have answered what is asked of it: stopping may take its time. */
export const agentTimeout = 60_000;

/**
 * Asks the agent of a node, as this API: its caller's rights were checked before.
 * @throws what the agent says; AGENT_UNAVAILABLE when it can't be reached, or refuses the API itself
 */
export async function askAgent<T>(
  { config, redis }: Pick<ApiServices, 'config' | 'redis'>,
  node: string,
  ask: (agent: AgentClient) => Promise<T>,
): Promise<T> {
  const agent = isLocalNode(config, node)
    ? new AgentClient({ socketPath: config.agent.socket })
    : await openRemoteAgent(config, redis, node);
  try {
    return await ask(agent);
  } catch (error) {
    const isRefusal =
      error instanceof DrayError && (error.code === 'UNAUTHORIZED' || error.code === 'DENIED');
    if (!isRefusal) throw error;
    throw new DrayError(
      'AGENT_UNAVAILABLE',
      `The agent of node ${node} refuses this API: ${error.message}`,
      { hint: 'DRAY_NODES_TOKEN and DRAY_NODES_CERT of dray serve say who it is.', cause: error },
    );
  }
}

export function agentIsLate(): DrayError {
  return new DrayError('TIMEOUT', 'The agent of the node did not answer in time', {
    retryable: true,
    hint: 'What was asked for may still come about there. Look at the container.',
  });
}
