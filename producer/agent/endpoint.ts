import { existsSync } from 'node:fs';
import type { Config } from '../../shared/config/config.ts';

/** Where an agent answers: on its socket, or at an address, by https. */
export type AgentEndpoint = { socketPath: string } | RemoteEndpoint;

export interface RemoteEndpoint {
  /** Its certificate must have this name: where the address came from need not be trusted. */
  node: string;
  /** `host:port`. */
  address: string;
  /** PEM; undefined: the system's. */
  authority?: Buffer;
  /** PEM. */
  client?: { cert: Buffer; key: Buffer };
  token?: string;
}

/** Whether a node is this machine, so that its agent's socket can be used. */
export function isLocalNode({ agent }: Pick<Config, 'agent'>, node: string): boolean {
  return node === agent.node && existsSync(agent.socket);
}
