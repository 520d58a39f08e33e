import type { Redis } from 'ioredis';

/**
 * Makes a connection to one server end when it is told to, also between two tries to reach it: ioredis alone then
 * forgets it, so that it never says `end` and its commands have no outcome.
 */
export function steadySingle(redis: Redis): Redis {
  const { disconnect, duplicate } = redis;
  redis.disconnect = (reconnect = false) => {
    // As one that has not connected yet: there is no socket whose end could be waited for.
    if (redis.status === 'reconnecting' && !reconnect) redis.status = 'wait';
    disconnect.call(redis, reconnect);
  };
  redis.duplicate = ((...args: Parameters<typeof duplicate>) =>
    steadySingle(duplicate.apply(redis, args))) as typeof duplicate;
  return redis;
}
