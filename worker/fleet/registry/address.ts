import dns from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { DrayError } from '../../../shared/errors.ts';

/** What kind of network an address belongs to. `forbidden` is never connected to. */
export type AddressKind = 'public' | 'private' | 'loopback' | 'forbidden';

/** Link-local, metadata services, multicast, and what names no host. */
const forbidden = new BlockList();
forbidden.addSubnet('0.0.0.0', 8, 'ipv4');
forbidden.addSubnet('169.254.0.0', 16, 'ipv4');
forbidden.addSubnet('192.0.0.0', 24, 'ipv4');
forbidden.addAddress('100.100.100.200', 'ipv4');
// Azure's platform, which answers each of its machines.
forbidden.addAddress('168.63.129.16', 'ipv4');
forbidden.addSubnet('224.0.0.0', 3, 'ipv4');
forbidden.addAddress('::', 'ipv6');
forbidden.addSubnet('fe80::', 10, 'ipv6');
forbidden.addSubnet('ff00::', 8, 'ipv6');
forbidden.addAddress('fd00:ec2::254', 'ipv6');
forbidden.addAddress('fd20:ce::254', 'ipv6');

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

const privateRanges = new BlockList();
privateRanges.addSubnet('10.0.0.0', 8, 'ipv4');
privateRanges.addSubnet('172.16.0.0', 12, 'ipv4');
privateRanges.addSubnet('192.168.0.0', 16, 'ipv4');
privateRanges.addSubnet('100.64.0.0', 10, 'ipv4');
privateRanges.addSubnet('198.18.0.0', 15, 'ipv4');
privateRanges.addSubnet('fc00::', 7, 'ipv6');
privateRanges.addSubnet('fec0::', 10, 'ipv6');
privateRanges.addSubnet('64:ff9b:1::', 48, 'ipv6');

/** Classifies an IP address; IPv6 forms that carry an IPv4 address count as that one. */
export function addressKind(address: string): AddressKind {
  const plain = address.replace(/%.*$/, '');
  const family = isIP(plain);
  if (family === 0) return 'forbidden';
  const embedded = family === 6 ? embeddedIPv4(plain) : undefined;
  const text = embedded ?? plain;
  const type = embedded !== undefined || family === 4 ? 'ipv4' : 'ipv6';
  if (forbidden.check(text, type)) return 'forbidden';
  if (loopback.check(text, type)) return 'loopback';
  return privateRanges.check(text, type) ? 'private' : 'public';
}

/** The host of a URL if it is an IP literal. */
export function literalOf(url: URL): string | undefined {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(host) === 0 ? undefined : host;
}

/** Whether a URL's host is this machine by its name. */
export function isLoopbackHost(url: URL): boolean {
  const literal = literalOf(url);
  return literal === undefined ? url.hostname === 'localhost' : addressKind(literal) === 'loopback';
}

export function isAllowed(address: string, allowPrivate: boolean): boolean {
  const kind = addressKind(address);
  return kind === 'public' || (allowPrivate && kind !== 'forbidden');
}

export function addressRefused(host: string, address: string): DrayError {
  const kind = addressKind(address);
  const network = { public: '', private: 'a private', loopback: 'a loopback', forbidden: 'no' }[
    kind
  ];
  return new DrayError(
    'ADDRESS_REFUSED',
    kind === 'forbidden'
      ? `${host} leads to ${address}, a link-local or reserved address`
      : `${host} leads to ${address}, ${network} address`,
    {
      hint:
        kind === 'forbidden'
          ? 'Such addresses are never connected to. Check the registry and what it redirects to.'
          : 'If the registry is yours, name it in DRAY_ALLOW_PRIVATE or registries.allowPrivate.',
      context: { host, address },
    },
  );
}

/**
 * A lookup for sockets that hands out checked addresses only. What it checked is what the socket connects to:
 * a name that resolves to something else a moment later gains nothing.
 */
export function guardedLookup(
  allowPrivate: boolean,
  lookup: LookupFunction = dns.lookup,
): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, '');
      const addresses = Array.isArray(found) ? found : [];
      const allowed = addresses.filter(({ address }) => isAllowed(address, allowPrivate));
      const [first] = allowed;
      if (first === undefined) {
        return callback(addressRefused(hostname, addresses[0]?.address ?? 'no address'), '');
      }
      if (options.all) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

/** Unpacks v4-mapped, v4-compatible, NAT64 (64:ff9b::/96) and 6to4 addresses. */
function embeddedIPv4(address: string): string | undefined {
  const groups = groupsOf(address);
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = groups;
  const dotted = (high: number, low: number) =>
    `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  if (a === 0x2002) return dotted(b, c);
  if (c !== 0 || d !== 0 || e !== 0) {
    // IPv4-translated, ::ffff:0:a.b.c.d
    const translated = (a | b | c | d) === 0 && e === 0xffff && f === 0;
    return translated ? dotted(g, h) : undefined;
  }
  if (a === 0x64 && b === 0xff9b && f === 0) return dotted(g, h);
  if (a !== 0 || b !== 0) return undefined;
  if (f === 0xffff) return dotted(g, h);
  return f === 0 && g !== 0 ? dotted(g, h) : undefined;
}

function groupsOf(address: string): number[] {
  // The URL parser turns a dotted tail into two groups.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const parse = (text: string) =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const left = parse(head);
  const right = tail === undefined ? [] : parse(tail);
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
}
