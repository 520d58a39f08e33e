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
