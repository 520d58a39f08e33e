import { Redis, type RedisOptions } from 'ioredis';
import { DrayError, messageOf } from '../errors.ts';

export interface RedisTarget {
  /** `redis://`, `rediss://` or `unix:///path`. */
  url: string;
  prefix: string;
}

export interface ConnectOptions {
  /** Shown in CLIENT LIST. */
  name: string;
  /**
   * Patient connections, those of workers and agents, wait for Redis to come back for as long as it takes.
   * Others give up: a person is waiting. Default false.
   */
  patient?: boolean;
}

/** Why a connection was lost or not had last: a command that gives up says only how often it tried. */
const lastErrors = new WeakMap<Redis, Error>();

/** Opens a connection; it connects by itself. Commands of an impatient one fail within seconds while Redis is down. */
export function connectRedis(target: RedisTarget, options: ConnectOptions): Redis {
  const socket = socketPath(target.url);
  const settings = {
    ...(socket === undefined ? {} : { path: socket }),
    connectionName: `dray-${options.name}`,
    connectTimeout: 5_000,
    enableReadyCheck: true,
    ...(options.patient
      ? {
          maxRetriesPerRequest: null,
          retryStrategy: (tries: number) => Math.min(tries * 100, 2_000),
        }
      : {
          maxRetriesPerRequest: 1,
          retryStrategy: (tries: number) => (tries > 3 ? null : tries * 100),
        }),
  } satisfies RedisOptions;
  const redis = socket === undefined ? new Redis(target.url, settings) : new Redis(settings);
  // Without a listener ioredis prints each failed try.
  redis.on('error', (error: Error) => lastErrors.set(redis, error));
  return redis;
}

/** The path of a `unix://` URL, or undefined for a URL of a host. */
export function socketPath(url: string): string | undefined {
  return url.startsWith('unix://') ? url.slice('unix://'.length) : undefined;
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
