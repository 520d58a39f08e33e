import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { PortMapping } from '../../../shared/agent/run-options.ts';
import { DrayError, errnoOf, messageOf } from '../../../shared/errors.ts';

/** The ports of the node that lead to containers, by who has them. */
export class PortTable {
  readonly #owners = new Map<string, string>();

  /** Takes all ports of a container, or none. @throws CONFLICT */
  take(owner: string, ports: readonly PortMapping[]): void {
    for (const port of ports) {
      for (const [taken, other] of this.#owners) {
        if (other !== owner && overlaps(parseKey(taken), port))
          throw inUse(port, 'another container');
      }
    }
    for (const port of ports) this.#owners.set(keyOf(port), owner);
  }

  /** Gives back what an owner has taken. */
  release(owner: string): void {
    for (const [key, other] of this.#owners) if (other === owner) this.#owners.delete(key);
  }
}

/**
 * Whether a program of the node listens on a port: it would no longer be reached.
 * @throws CONFLICT; CONFIG_INVALID for an address that the node does not have
 */
export async function requireFree(port: PortMapping): Promise<void> {
  try {
    if (port.protocol === 'tcp') await listenTCP(port);
    else if (port.protocol === 'udp') await bindUDP(port);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'EADDRINUSE') throw inUse(port, 'a program of this node');
    if (errno === 'EADDRNOTAVAIL') {
      throw new DrayError('CONFIG_INVALID', `This node does not have the address ${port.hostIP}`, {
        hint: 'Correct --publish.',
      });
    }
    throw new DrayError(
      'RUNTIME_FAILED',
      `Port ${port.hostPort} of the node can't be looked at: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

async function listenTCP({ hostIP, hostPort }: PortMapping): Promise<void> {
  const server = createServer();
  server.listen({ port: hostPort, host: hostIP ?? '0.0.0.0', exclusive: true });
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

async function bindUDP({ hostIP, hostPort }: PortMapping): Promise<void> {
  const socket = createSocket(hostIP?.includes(':') === true ? 'udp6' : 'udp4');
  socket.bind({ port: hostPort, ...(hostIP === undefined ? {} : { address: hostIP }) });
  await once(socket, 'listening');
  socket.close();
}

type Place = Pick<PortMapping, 'hostIP' | 'hostPort' | 'protocol'>;

function keyOf({ hostIP = '', hostPort, protocol }: Place): string {
  return `${protocol} ${hostPort} ${hostIP}`;
}

function parseKey(key: string): Place {
  const [protocol = '', port = '', hostIP = ''] = key.split(' ');
  return { protocol: protocol as PortMapping['protocol'], hostPort: Number(port), hostIP };
}

function overlaps(a: Place, b: Place): boolean {
  const isEvery = (ip = '') => ['', '0.0.0.0', '::'].includes(ip);
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false;
  return isEvery(a.hostIP) || isEvery(b.hostIP) || a.hostIP === b.hostIP;
}

function inUse({ hostPort, protocol }: Place, by: string): DrayError {
  return new DrayError('CONFLICT', `Port ${hostPort}/${protocol} of the node is taken by ${by}`, {
    hint: 'Choose another with --publish, or end what has it.',
    context: { exitCode: 125 },
  });
}
