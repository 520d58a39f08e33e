import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { DrayError, messageOf } from '../errors.ts';

interface HostPort {
  host: string;
  port: number;
}

/** Where a Redis is, as its URL says. */
export type RedisAddress = {
  username?: string;
  password?: string;
  tls: boolean;
} & (
  | { kind: 'socket'; path: string }
  | { kind: 'single'; host: HostPort; database: number }
  /** Sentinels are asked which server is the primary of that name. */
  | { kind: 'sentinel'; hosts: HostPort[]; name: string; database: number }
  /** Some nodes of a Redis Cluster; they know the others. */
  | { kind: 'cluster'; hosts: HostPort[] }
);

/** A Redis, and how to get in. What a URL says can stand beside it; secrets stand in files of their own. */
export interface RedisTarget {
  /** As {@link parseRedisUrl} reads it. */
  url: string;
  /** Before every key; in a Redis Cluster it needs a hash tag, as the default has. */
  prefix: string;
  username?: string | undefined;
  /** A file whose first line is the password. */
  passwordFile?: string | undefined;
  /** Sentinels have users of their own. */
  sentinelUsername?: string | undefined;
  sentinelPasswordFile?: string | undefined;
  tls?: RedisTls;
}

/** Files (PEM) for TLS, besides what the system trusts. */
export interface RedisTls {
  ca?: string | undefined;
  /** Of this client, with its key. */
  certificate?: string | undefined;
  key?: string | undefined;
  /** The name in the server's certificate, where that is not the host's. */
  serverName?: string | undefined;
}

const forms =
  'Write redis://host:6379, rediss://user:password@host:6379, unix:///path/to/socket, redis+sentinel://host:26379,host/NAME or redis+cluster://host:6379,host; rediss+… for TLS.';

/** Reads a URL of a Redis. @throws USAGE, which never quotes it: there may be a password in it */
export function parseRedisUrl(url: string): RedisAddress {
  if (url.startsWith('unix:///')) {
    return { kind: 'socket', path: url.slice('unix://'.length), tls: false };
  }
  const match =
    /^redis(?<tls>s?)(?:\+(?<kind>sentinel|cluster))?:\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<hosts>[^/?#@]+)(?<path>\/[^?#]*)?$/.exec(
      url,
    );
  if (match?.groups === undefined) throw invalid('is no URL of a Redis');
  const { tls, kind = 'single', user, password, hosts = '', path = '' } = match.groups;
  const common = {
    tls: tls === 's',
    ...(user === undefined || user === '' ? {} : { username: decoded(user) }),
    ...(password === undefined ? {} : { password: decoded(password) }),
  };
  const found = hosts.split(',').map((host) => hostPort(host, kind === 'sentinel' ? 26379 : 6379));
  const [first] = found;
  const segments = path.split('/').filter((segment) => segment !== '');
  switch (kind) {
    case 'sentinel': {
      const [name, database, ...rest] = segments;
      if (name === undefined || rest.length > 0) {
        throw invalid('does not say which name the Sentinels know the primary by');
      }
      const known = { kind, hosts: found, name: decoded(name), database: databaseOf(database) };
      return { ...common, ...known };
    }
    case 'cluster':
      if (segments.length > 0) throw invalid('names a database; a Redis Cluster has only one');
      return { ...common, kind, hosts: found };
    default: {
      const [database, ...rest] = segments;
      if (found.length !== 1 || first === undefined || rest.length > 0) {
        throw invalid('names several hosts, but neither Sentinels nor a Cluster');
      }
      return { ...common, kind: 'single', host: first, database: databaseOf(database) };
    }
  }
}

function hostPort(text: string, defaultPort: number): HostPort {
  const match = /^(?:\[(?<ipv6>[0-9a-fA-F:.]+)\]|(?<name>[\w.-]+))(?::(?<port>\d{1,5}))?$/.exec(
    text.trim(),
  );
  const host = match?.groups?.ipv6 ?? match?.groups?.name;
  const port = Number(match?.groups?.port ?? defaultPort);
  if (host === undefined || port > 65_535) throw invalid('has a host that is none');
  return { host, port };
}

function databaseOf(text = '0'): number {
  if (!/^\d{1,5}$/.test(text)) throw invalid('has a database that is no number');
  return Number(text);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid('has a "%" that begins no code');
  }
}

function invalid(what: string): DrayError {
  return new DrayError('USAGE', `REDIS_URL (redis.url in the file) ${what}`, { hint: forms });
}

/** The first line of a file. @throws USAGE */
export function readSecret(file: string): string {
  return readSetting(file).split(/\r?\n/, 1)[0] ?? '';
}

/** What Node's TLS is told. @throws USAGE for a file that can't be read */
export function tlsOptions({ ca, certificate, key, serverName }: RedisTls): ConnectionOptions {
  return {
    ...(ca === undefined ? {} : { ca: readSetting(ca) }),
    ...(certificate === undefined ? {} : { cert: readSetting(certificate) }),
    ...(key === undefined ? {} : { key: readSetting(key) }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}

function readSetting(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new DrayError(
      'USAGE',
      `${file}, which is for Redis, can't be read: ${messageOf(error)}`,
      {
        hint: 'Check the path in the settings of redis, and the rights of the file.',
        cause: error,
      },
    );
  }
}
