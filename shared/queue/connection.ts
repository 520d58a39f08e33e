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
  // Commands carry their own errors; without a listener ioredis prints each failed try.
  redis.on('error', () => {});
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

/** What a failed Redis command becomes. DrayErrors pass through. */
export function queueError(error: unknown, target: RedisTarget): DrayError {
  if (error instanceof DrayError) return error;
  return new DrayError(
    'QUEUE_UNAVAILABLE',
    `Redis at ${redactUrl(target.url)} can't be used: ${messageOf(error)}`,
    {
      retryable: true,
      cause: error,
      hint: 'Check that Redis runs there and that REDIS_URL is right.',
    },
  );
}
