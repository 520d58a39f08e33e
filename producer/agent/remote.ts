import { readFileSync } from 'node:fs';
import type { Config } from '../../shared/config/config.ts';
import { DrayError, messageOf } from '../../shared/errors.ts';
import { getNode } from '../../shared/node/registry.ts';
import { queueError, type Redis } from '../../shared/queue/connection.ts';
import { AgentClient } from './client.ts';

/**
 * The agent of another node of the fleet, at the address that it said last.
 * @throws NOT_FOUND for a node that is not in the fleet; AGENT_UNAVAILABLE for one that does not answer other
 * machines; QUEUE_UNAVAILABLE
 */
export async function openRemoteAgent(
  { redis: settings, nodes }: Pick<Config, 'redis' | 'nodes'>,
  redis: Redis,
  name: string,
): Promise<AgentClient> {
  const node = await getNode(redis, settings.prefix, name).catch((error: unknown) => {
    throw error instanceof DrayError ? error : queueError(error, settings, redis);
  });
  if (node.address === undefined) {
    throw new DrayError(
      'AGENT_UNAVAILABLE',
      `The agent of node ${name} answers on its machine only`,
      {
        hint: 'Set DRAY_AGENT_LISTEN there, with a certificate.',
      },
    );
  }
  const { authority, client, token } = nodes;
  return new AgentClient({
    node: name,
    address: node.address,
    ...(authority === undefined ? {} : { authority: read('DRAY_NODES_CA', authority) }),
    ...(client === undefined
      ? {}
      : {
          client: {
            cert: read('DRAY_NODES_CERT', client.cert),
            key: read('DRAY_NODES_KEY', client.key),
          },
        }),
    ...(token === undefined ? {} : { token: read('DRAY_NODES_TOKEN', token).toString().trim() }),
  });
}

function read(setting: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new DrayError('USAGE', `${setting}: ${file} can't be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
