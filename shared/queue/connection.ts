import { Cluster, type RedisOptions, Redis as SingleRedis } from 'ioredis';
import { DrayError, messageOf } from '../errors.ts';
import { parseRedisUrl, type RedisTarget, readSecret, tlsOptions } from './address.ts';
import { gather } from './gather.ts';
import { steady } from './steady-cluster.ts';
import { steadySingle } from './steady-single.ts';

/**
 * A connection to a Redis: to one server, to the primary that Sentinels name, or to a Cluster. Commands are the
 * same; all keys have the prefix's hash tag, so that scripts and transactions find theirs on one node.
 */
export type Redis = SingleRedis | Cluster;

export interface ConnectOptions {
  /** Shown in CLIENT LIST. */
  name: string;
  /**
   * Patient connections, those of workers and agents, wait for Redis to come back for as long as it takes.
   * Others give up: a person is waiting. Default false.
   */
  patient?: boolean;
  /** Commands of one turn of the event loop are sent together: for who has many under way at once. Default false. */
  gathers?: boolean;
}

/** Milliseconds. */
const connectTimeout = 5_000;
/** A command that was not answered so long went to a host that is gone. Blocking ones take 5 s at most. */
const silence = 15_000;

/** Why a connection was lost or not had last: a command that gives up says only how often it tried. */
const lastErrors = new WeakMap<Redis, Error>();

/**
 * Opens a connection; it connects by itself. Commands of an impatient one fail within seconds while Redis is down.
 * @throws USAGE for settings that can't be used
 */
export function connectRedis(target: RedisTarget, options: ConnectOptions): Redis {
  const redis = open(target, options);
  // Without a listener ioredis prints each failed try.
  redis.on('error', (error: Error) => lastErrors.set(redis, error));
  return redis;
}

function open(
  target: RedisTarget,
  { name, patient = false, gathers = false }: ConnectOptions,
): Redis {
  const address = parseRedisUrl(target.url);
  const { passwordFile, sentinelUsername, sentinelPasswordFile } = target;
  const username = target.username ?? address.username;
  const password = passwordFile === undefined ? address.password : readSecret(passwordFile);
  const settings = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    connectionName: `dray-${name}`,
    connectTimeout,
    socketTimeout: silence,
    // A failover that the connection outlived: what it leads to takes no writes any more.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? 2 : false),
    maxRetriesPerRequest: patient ? null : 1,
  } as const;
  const again = (tries: number) => {
    if (patient) return Math.min(tries * 100, 2_000);
    return tries > 3 ? null : tries * 100;
  };
  const single = (more: Omit<RedisOptions, 'replyMapping'>) => {
    const redis = steadySingle(new SingleRedis({ ...settings, ...more, retryStrategy: again }));
    return gathers ? gather(redis) : redis;
  };
  const tls = address.tls ? tlsOptions(target.tls ?? {}) : undefined;
  const secure = tls === undefined ? {} : { tls };
  switch (address.kind) {
    case 'socket':
      return single({ path: address.path });
    case 'single':
      return single({ ...secure, ...address.host, db: address.database });
    case 'sentinel':
      return single({
        ...{ ...secure, db: address.database },
        ...{ sentinels: address.hosts, name: address.name, sentinelRetryStrategy: again },
        // One that accepts connections and answers nothing is passed over.
        sentinelCommandTimeout: connectTimeout,
        ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
        ...(sentinelPasswordFile === undefined
          ? {}
          : { sentinelPassword: readSecret(sentinelPasswordFile) }),
        ...(tls === undefined ? {} : { enableTLSForSentinelMode: true, sentinelTLS: tls }),
      });
    case 'cluster': {
      const cluster = new Cluster(address.hosts, {
        redisOptions: { ...settings, ...secure },
        clusterRetryStrategy: again,
        // Until a replica has taken over.
        maxRedirections: patient ? Number.MAX_SAFE_INTEGER : 16,
        ...{ retryDelayOnFailover: 200, retryDelayOnClusterDown: 200 },
        // Certificates are for names.
        dnsLookup: (host, answer) => answer(null, host),
      });
      if (gathers) cluster.on('+node', gather);
      return steady(cluster);
    }
  }
}

/** A second connection to the same Redis, for what blocks or subscribes. Whoever waits on it sees its errors. */
export function duplicate(redis: Redis): Redis {
  const second = redis instanceof Cluster ? redis.duplicate() : redis.duplicate();
  second.on('error', (error: Error) => lastErrors.set(second, error));
  return second;
}

/** The URL without its password, for messages. */
export function redactUrl(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//…@');
}

/** What a failed Redis command becomes. DrayErrors pass through. @param redis the connection that it failed on */
export function queueError(error: unknown, target: RedisTarget, redis: Redis): DrayError {
  if (error instanceof DrayError) return error;
  const why = redisFailure(error, redis);
  // Redis takes no writes while it can't keep them (redis.conf, stop-writes-on-bgsave-error and the AOF).
  const isFull = why.startsWith('MISCONF') || why.startsWith('OOM');
  return new DrayError(
    'QUEUE_UNAVAILABLE',
    `Redis at ${redactUrl(target.url)} can't be used: ${why}`,
    {
      retryable: true,
      cause: error,
      hint: isFull
        ? 'Redis has no room left. Free space on its disk, or give it more memory.'
        : 'Check that Redis runs there and that REDIS_URL is right.',
    },
  );
}

/** Whether an error is Redis' own, or says that it could not be asked. */
export function isRedisError(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof DrayError) return false;
  return (
    ['MaxRetriesPerRequestError', 'ReplyError'].includes(error.name) ||
    /ECONNREFUSED|ECONNRESET|Connection is closed|Command aborted|Stream isn't writeable/.test(
      error.message,
    )
  );
}

/** What went wrong with Redis, in its own or the system's words. */
export function redisFailure(error: unknown, redis: Redis): string {
  const name = error instanceof Error ? error.name : '';
  if (name === 'TimeoutError') return lastMessage(redis) ?? 'it does not answer';
  const isVague =
    name === 'MaxRetriesPerRequestError' || /^Connection is closed/.test(messageOf(error));
  return (isVague ? lastMessage(redis) : undefined) ?? messageOf(error);
}

/** An error of several addresses at once has no message of its own. */
function lastMessage(redis: Redis): string | undefined {
  const error = lastErrors.get(redis);
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return inner === undefined ? undefined : messageOf(inner);
}
