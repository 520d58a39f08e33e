import { isIP } from 'node:net';
import type { PortMapping } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';

/**
 * Parses `--publish`: `[[IP:]HOSTPORT:]PORT[/tcp|udp|sctp]`, where both may be ranges of one length. A port
 * without one of the node gets the same.
 * @throws USAGE
 */
export function parsePublish(text: string): PortMapping[] {
  const refuse = (why: string): never => {
    throw new DrayError('USAGE', `--publish "${text}" ${why}`, {
      hint: 'Write --publish 8080:80, 127.0.0.1:8080:80 or 53:53/udp.',
    });
  };
  const [, ip, host, container = '', protocol = 'tcp'] =
    /^(?:(?:(\[[^\]]+\]|[^:/[\]]+):)?([\d-]+):)?([\d-]+)(?:\/([a-z]+))?$/i.exec(text) ?? [];
  const hostIP = ip?.replaceAll(/[[\]]/g, '');
  if (container === '') refuse('is no mapping of ports');
  if (hostIP !== undefined && isIP(hostIP) === 0) refuse(`has "${hostIP}" for an address`);
  const name = protocol.toLowerCase();
  if (!isProtocol(name)) return refuse(`has "${protocol}" for a protocol`);
  const inside = range(container) ?? refuse('has a port that is not from 1 to 65535');
  const outside = range(host ?? container) ?? refuse('has a port that is not from 1 to 65535');
  if (inside.length !== outside.length) refuse('has two ranges of different lengths');
  return inside.map((containerPort, index) => ({
    ...(hostIP === undefined ? {} : { hostIP }),
    hostPort: outside[index] ?? containerPort,
    containerPort,
    protocol: name,
  }));
}

function isProtocol(name: string): name is PortMapping['protocol'] {
  return ['tcp', 'udp', 'sctp'].includes(name);
}

function range(text: string): number[] | undefined {
  const [, low = '', high = low] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const [first, last] = [Number(low), Number(high)];
  if (low === '' || first < 1 || last > 65535 || last < first) return undefined;
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
