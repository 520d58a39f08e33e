import { BlockList, isIP } from 'node:net';
import { DrayError } from '../../../shared/errors.ts';
import { isLoopbackHost, literalOf } from './address.ts';

/** The proxy through which a URL is asked for, if any. */
export type ProxyRule = (url: URL) => URL | undefined;

const defaultPorts: Record<string, string> = { 'http:': '80', 'https:': '443' };

/**
 * What HTTP_PROXY, HTTPS_PROXY and NO_PROXY (upper or lower case) say, as Go's programs read them: NO_PROXY lists
 * hosts (with their subdomains; `.host` for the subdomains alone), addresses and CIDR ranges, each with a port or
 * without, or is `*`. This machine is never asked through a proxy.
 * @throws USAGE for a proxy that is no URL
 */
export function proxyRule(env: NodeJS.ProcessEnv = process.env): ProxyRule {
  const read = (name: string) => env[name] || env[name.toLowerCase()] || undefined;
  const byProtocol: Record<string, URL | undefined> = {
    // A CGI program's HTTP_PROXY is a request's header, which is nobody's configuration.
    'http:': env.REQUEST_METHOD ? undefined : parseProxy('HTTP_PROXY', read('HTTP_PROXY')),
    'https:': parseProxy('HTTPS_PROXY', read('HTTPS_PROXY')),
  };
  const exempt = parseExemptions(read('NO_PROXY') ?? '');
  return (url) => {
    const proxy = byProtocol[url.protocol];
    return proxy === undefined || isLoopbackHost(url) || exempt(url) ? undefined : proxy;
  };
}

function parseProxy(name: string, text: string | undefined): URL | undefined {
  if (text === undefined) return undefined;
  const url = URL.parse(/^[a-z0-9]+:\/\//i.test(text) ? text : `http://${text}`);
  if (url !== null && /^(?:https?|socks5):$/.test(url.protocol) && url.hostname !== '') return url;
  // It may have a password in it.
  throw new DrayError('USAGE', `${name} names no proxy that can be used`, {
    hint: 'A proxy is http://host:port, https://host:port or socks5://host:port.',
  });
}

function parseExemptions(text: string): (url: URL) => boolean {
  const rules = text
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '')
    .map(parseExemption);
  return (url) => rules.some((rule) => rule(url));
}

function parseExemption(entry: string): (url: URL) => boolean {
  if (entry === '*') return () => true;
  const range = /^(.+)\/(\d{1,3})$/.exec(entry);
  const [, network = '', bits] = range ?? [];
  if (range !== null && isIP(network) !== 0) {
    const list = new BlockList();
    try {
      list.addSubnet(network, Number(bits), familyOf(network));
    } catch {
      return () => false;
    }
    return (url) => {
      const literal = literalOf(url);
      return literal !== undefined && list.check(literal, familyOf(literal));
    };
  }
  const { host, port } = splitPort(entry);
  const samePort = (url: URL) =>
    port === undefined || (url.port || defaultPorts[url.protocol]) === port;
  const name = host.replace(/^\*/, '').replace(/\.$/, '');
  if (isIP(name) !== 0) {
    const list = new BlockList();
    list.addAddress(name, familyOf(name));
    return (url) => {
      const literal = literalOf(url);
      return literal !== undefined && list.check(literal, familyOf(literal)) && samePort(url);
    };
  }
  return (url) => {
    const asked = url.hostname.replace(/\.$/, '');
    const matches = name.startsWith('.')
      ? asked.endsWith(name)
      : asked === name || asked.endsWith(`.${name}`);
    return matches && samePort(url);
  };
}

function splitPort(entry: string): { host: string; port: string | undefined } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(entry) ?? [];
  return { host: bracketed ?? plain ?? entry, port };
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
