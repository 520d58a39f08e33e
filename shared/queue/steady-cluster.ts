import { once } from 'node:events';
import type { Cluster, Redis } from 'ioredis';

/**
 * Makes a connection to a Redis Cluster open and close when it is told to, also while a replica takes over. BullMQ's
 * workers reset theirs after a failover and wait for it; with ioredis alone they may wait for ever, in two places: a
 * command that is redirected while the connection closes adds a server that nobody closes, so that it never ends; and
 * opening has no outcome when the cluster is found not to be ready.
 */
export function steady(cluster: Cluster): Cluster {
  cluster.on('+node', (server: Redis) => {
    if (cluster.status === 'disconnecting') server.disconnect();
  });
  const { connect, duplicate } = cluster;
  cluster.connect = async () => {
    const over = new AbortController();
    const { signal } = over;
    try {
      await Promise.race([
        connect.call(cluster),
        once(cluster, 'ready', { signal }),
        once(cluster, 'end', { signal }).then(() => {
          throw new Error('Connection is closed.');
        }),
      ]);
    } finally {
      over.abort();
    }
  };
  cluster.duplicate = ((...args: Parameters<typeof duplicate>) =>
    steady(duplicate.apply(cluster, args))) as typeof duplicate;
  return cluster;
}
