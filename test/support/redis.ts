import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectRedis, type Redis } from '../../shared/queue/connection.ts';

export interface TestRedis extends AsyncDisposable {
  url: string;
  pid: () => number;
  /** A connection that ends with the server. @param options.patient waits for one that is away, as programs do */
  connect: (options?: { patient?: boolean }) => Redis;
  /** Ends the server without warning. */
  kill: () => Promise<void>;
  /** Starts it again on the same append-only file. */
  restart: () => Promise<void>;
}

/**
 * A private Redis on a unix socket in a temporary folder, with an append-only file.
 * @param options.args more of redis-server's arguments; the default user must be able to PING
 */
export async function startRedis(options: { args?: string[] } = {}): Promise<TestRedis> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-redis-'));
  const socket = path.join(folder, 'redis.sock');
  const url = `unix://${socket}`;
  const start = async () => {
    const child = spawn(
      'redis-server',
      [
        ...['--port', '0', '--unixsocket', socket, '--dir', folder],
        ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', ''],
        ...['--maxmemory-policy', 'noeviction', ...(options.args ?? [])],
      ],
      { stdio: 'ignore' },
    );
    await once(child, 'spawn');
    const probe = connectRedis({ url, prefix: '' }, { name: 'probe', patient: true });
    try {
      while ((await probe.ping().catch(() => '')) !== 'PONG') await sleep(20);
    } finally {
      probe.disconnect();
    }
    return child;
  };
  let child = await start();
  const stop = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  };
  const connections: Redis[] = [];
  return {
    url,
    connect: ({ patient = false } = {}) => {
      const redis = connectRedis({ url, prefix: '' }, { name: 'test', patient });
      connections.push(redis);
      return redis;
    },
    pid: () => child.pid ?? 0,
    kill: () => stop('SIGKILL'),
    restart: async () => {
      await stop('SIGTERM');
      child = await start();
    },
    async [Symbol.asyncDispose]() {
      for (const redis of connections) redis.disconnect();
      await stop('SIGTERM');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
