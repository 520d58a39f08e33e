import { isIP } from 'node:net';
import { exposedPort, type PortRequest } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';

/**
 * Parses `--publish`: `[[IP:][HOSTPORT]:]PORT[/tcp|udp|sctp]`, where both may be ranges of one length. A port
 * without one of the node gets one that is free.
 * @throws USAGE
 */
export function parsePublish(text: string): PortRequest[] {
  const refuse = (why: string): never => {
    throw new DrayError('USAGE', `--publish "${text}" ${why}`, {
      hint: 'Write --publish 8080:80, 127.0.0.1:8080:80 or 53:53/udp; 80 alone for a port of the node that is free.',
    });
  };
  const [, ip, host, container = '', protocol = 'tcp'] =
    /^(?:(?:(\[[^\]]+\]|[^:/[\]]+):)?([\d-]*):)?([\d-]+)(?:\/([a-z]+))?$/i.exec(text) ?? [];
  const hostIP = ip?.replaceAll(/[[\]]/g, '');
  if (container === '') refuse('is no mapping of ports');
  if (hostIP !== undefined && isIP(hostIP) === 0) refuse(`has "${hostIP}" for an address`);
  const name = protocol.toLowerCase();
  if (!isProtocol(name)) return refuse(`has "${protocol}" for a protocol`);
  const inside = range(container) ?? refuse('has a port that is not from 1 to 65535');
  const isNamed = host !== undefined && host !== '';
  if (host === '' && hostIP === undefined) refuse('has no port before the colon');
  const outside = isNamed
    ? (range(host) ?? refuse('has a port that is not from 1 to 65535'))
    : undefined;
  if (outside !== undefined && inside.length !== outside.length) {
    refuse('has two ranges of different lengths');
  }
  return inside.map((containerPort, index) => {
    const hostPort = outside?.[index];
    return {
      ...(hostIP === undefined ? {} : { hostIP }),
      ...(hostPort === undefined ? {} : { hostPort }),
      containerPort,
      protocol: name,
    };
  });
}

/** Parses `--expose`: `PORT[-PORT][/tcp|udp|sctp]`. @throws USAGE */
export function parseExpose(text: string): string {
  const [, low = '', high = low] = exposedPort.exec(text) ?? [];
  if (range(`${low}-${high}`) !== undefined) return text;
  throw new DrayError('USAGE', `--expose "${text}" is no port`, {
    hint: 'Write --expose 80, 53/udp or 8000-8010.',
  });
}

function isProtocol(name: string): name is PortRequest['protocol'] {
  return ['tcp', 'udp', 'sctp'].includes(name);
}

function range(text: string): number[] | undefined {
  const [, low = '', high = low] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const [first, last] = [Number(low), Number(high)];
  if (low === '' || first < 1 || last > 65535 || last < first) return undefined;
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
