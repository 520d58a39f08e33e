import { readFileSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { NetworkMode } from '../../../shared/agent/run-options.ts';
import { DrayError, errnoOf } from '../../../shared/errors.ts';

const localHosts = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

/** Where systemd-resolved lists the servers that it asks itself: its own address means nothing in another network. */
const resolvedServers = '/run/systemd/resolve/resolv.conf';

export interface NetworkFilesRequest {
  /** The folder of the files. */
  bundle: string;
  hostname: string;
  network: NetworkMode;
  /** `NAME:ADDRESS`, where `host-gateway` stands for the node. */
  hosts?: readonly string[];
  /** Addresses of name servers, instead of the node's. */
  dns?: readonly string[];
  /** Domains for names, instead of the node's; `.`: none. */
  dnsSearch?: readonly string[];
  /** Once they are known. */
  addresses?: readonly string[];
  /** The node, as a container on its bridge sees it. */
  gateway?: string;
}

/** A file of the node that a container has as one of its own. */
export interface NetworkFile {
  source: string;
  target: string;
  text: string;
}

/**
 * A container's own /etc/hostname, /etc/hosts and /etc/resolv.conf: in the node's network as the node has them, with
 * an address of its own as far as they mean something there, else with what a loopback device answers to.
 * @throws CONFIG_INVALID
 */
export function networkFiles(request: NetworkFilesRequest): NetworkFile[] {
  const { bundle, hostname } = request;
  const files = {
    hostname: `${hostname}\n`,
    hosts: hostsFor(request),
    'resolv.conf': resolverFor(request),
  };
  return Object.entries(files).map(([name, text]) => ({
    source: join(bundle, name),
    target: `/etc/${name}`,
    text,
  }));
}

/** Writes {@link networkFiles}. In place: a file that is mounted already is the same file. @throws CONFIG_INVALID */
export function writeNetworkFiles(request: NetworkFilesRequest): void {
  for (const { source, text } of networkFiles(request)) {
    writeFileSync(source, text, { mode: 0o644 });
  }
}

function hostsFor(request: NetworkFilesRequest): string {
  const { hostname, network, addresses = [], gateway } = request;
  const shared = network === 'host' ? readHostFile('/etc/hosts') : undefined;
  const own = addresses.length > 0 ? addresses : network === 'none' ? ['127.0.1.1'] : [];
  const lines = [
    ...(shared === undefined ? localHosts : [shared.trimEnd()]),
    ...(shared === undefined ? own.map((address) => `${address}\t${hostname}`) : []),
    ...(request.hosts ?? []).map((entry) => hostLine(entry, gateway ?? '127.0.0.1')),
  ];
  return `${lines.join('\n')}\n`;
}

function hostLine(entry: string, node: string): string {
  const [name = '', address = ''] = entry.split(/:(.*)/s);
  const ip = address === 'host-gateway' ? node : address.replaceAll(/^\[|\]$/g, '');
  if (/^[A-Za-z0-9_.-]{1,253}$/.test(name) && isIP(ip) !== 0) return `${ip}\t${name}`;
  throw new DrayError('CONFIG_INVALID', `"${entry.slice(0, 100)}" is not a name with an address`, {
    hint: 'Write --add-host NAME:ADDRESS, or NAME:host-gateway for the node.',
  });
}

function resolverFor({ network, dns = [], dnsSearch = [] }: NetworkFilesRequest): string {
  if (network === 'none') return '';
  const node = readHostFile('/etc/resolv.conf') ?? '';
  if (network === 'host' && dns.length + dnsSearch.length === 0) return node;
  const replaced = dnsSearch.length > 0 ? /^\s*(nameserver|search|domain)\s/ : /^\s*nameserver\s/;
  const others = node.split('\n').filter((line) => !replaced.test(line));
  const own = network === 'host' ? allServers(node) : undefined;
  const servers =
    dns.length > 0 ? dns : (own ?? reachableServers(node, { upstream: network === 'bridge' }));
  const domains = dnsSearch.filter((domain) => domain !== '.');
  const lines = [
    ...servers.map((server) => `nameserver ${server}`),
    ...(domains.length > 0 ? [`search ${domains.join(' ')}`] : []),
    ...others,
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}

function allServers(text: string): string[] {
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, server = '']) => server);
}

/** Those that are not on the node's own loopback device. */
function reachableServers(node: string, options: { upstream: boolean }): string[] {
  const servers = allServers(node);
  const reachable = servers.filter((server) => !/^(127\.|::1$)/.test(server));
  if (reachable.length > 0 || servers.length === 0 || !options.upstream) return reachable;
  const upstream = readHostFile(resolvedServers) ?? '';
  return upstream === '' ? [] : reachableServers(upstream, { upstream: false });
}

function readHostFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
