import type { Redis } from 'ioredis';

/**
 * Commands of one turn of the event loop go out in one write. ioredis's own way to that, `enableAutoPipelining`, holds
 * commands back until those before are answered, so that this program and Redis would take turns.
 */
export function gather(redis: Redis): Redis {
  redis.on('connect', () => {
    const { stream } = redis;
    const write = stream.write.bind(stream);
    let isCorked = false;
    stream.write = ((...args: Parameters<typeof write>) => {
      if (!isCorked) {
        isCorked = true;
        stream.cork();
        setImmediate(() => {
          isCorked = false;
          stream.uncork();
        });
      }
      return write(...args);
    }) as typeof stream.write;
  });
  return redis;
}
