import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { PortMapping, PortRequest } from '../../../shared/agent/run-options.ts';
import { DrayError, errnoOf, messageOf } from '../../../shared/errors.ts';

/** Ports that are tried before none is said to be free. */
const mostTries = 100;

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

  /**
   * Takes ports of the node for all that a container asks for, or none. Those that are not named are free ones: the
   * same as before where they can.
   * @param former its ports before
   * @throws CONFLICT; CONFIG_INVALID for an address that the node does not have
   */
  async assign(
    owner: string,
    requests: readonly PortRequest[],
    former: readonly PortMapping[] = [],
  ): Promise<PortMapping[]> {
    const named = requests.filter((port): port is PortMapping => port.hostPort !== undefined);
    this.take(owner, named);
    try {
      for (const port of named) await requireFree(port);
      const assigned: PortMapping[] = [];
      for (const request of requests) {
        const { hostPort } = request;
        assigned.push(
          hostPort === undefined
            ? await this.#choose(owner, request, former)
            : { ...request, hostPort },
        );
      }
      return assigned;
    } catch (error) {
      this.release(owner);
      throw error;
    }
  }

  /** The kernel does not know of ports that lead to containers: what it offers may be taken. */
  async #choose(
    owner: string,
    request: PortRequest,
    former: readonly PortMapping[],
  ): Promise<PortMapping> {
    const before = former.find(
      ({ hostIP, containerPort, protocol }) =>
        hostIP === request.hostIP &&
        containerPort === request.containerPort &&
        protocol === request.protocol,
    );
    for (let tries = 0; tries < mostTries; tries++) {
      const isFirst = tries === 0 && before !== undefined;
      const hostPort = isFirst ? before.hostPort : await bindPort({ ...request, hostPort: 0 });
      const port = { ...request, hostPort };
      if ([...this.#owners.keys()].some((taken) => overlaps(parseKey(taken), port))) continue;
      this.#owners.set(keyOf(port), owner);
      if (!isFirst || (await isFree(port))) return port;
      this.#owners.delete(keyOf(port));
    }
    throw new DrayError('CONFLICT', 'No port of the node is free', {
      hint: 'Name one with --publish HOST:PORT, or end what has them.',
      context: { exitCode: 125 },
    });
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
async function requireFree(port: PortMapping): Promise<void> {
  if (!(await isFree(port))) throw inUse(port, 'a program of this node');
}

async function isFree(port: PortMapping): Promise<boolean> {
  // Of SCTP nothing is known here.
  if (port.protocol === 'sctp') return true;
  try {
    await bindPort(port);
    return true;
  } catch (error) {
    if (errnoOf(error instanceof Error ? error.cause : error) === 'EADDRINUSE') return false;
    throw error;
  }
}

/** Binds a port for a moment. @param port.hostPort 0: one that is free @returns its number */
async function bindPort(port: PortMapping): Promise<number> {
  try {
    return await (port.protocol === 'udp' ? bindUDP(port) : listenTCP(port));
  } catch (error) {
    if (errnoOf(error) === 'EADDRNOTAVAIL') {
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

async function listenTCP({ hostIP, hostPort }: PortMapping): Promise<number> {
  const server = createServer();
  server.listen({ port: hostPort, host: hostIP ?? '0.0.0.0', exclusive: true });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function bindUDP({ hostIP, hostPort }: PortMapping): Promise<number> {
  const socket = createSocket(hostIP?.includes(':') === true ? 'udp6' : 'udp4');
  socket.bind({ port: hostPort, ...(hostIP === undefined ? {} : { address: hostIP }) });
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
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
