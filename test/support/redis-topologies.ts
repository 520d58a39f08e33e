import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from './ports.ts';

const run = promisify(execFile);

/** Several Redis servers on loopback that belong together. */
export interface RedisGroup extends AsyncDisposable {
  url: string;
  /** Kills the server that takes the work of the prefix `{dray}` now. @returns its port */
  killPrimary: () => Promise<number>;
}

interface Server {
  port: number;
  child: ChildProcess;
}

async function startServer(
  folder: string,
  port: number,
  lines: string[],
  args: string[] = [],
): Promise<Server> {
  const own = path.join(folder, `${port}`);
  await mkdir(own);
  const file = path.join(own, 'redis.conf');
  const common = ['bind 127.0.0.1', `port ${port}`, `dir ${own}`, 'save ""'];
  await writeFile(file, `${[...common, ...lines].join('\n')}\n`);
  const child = spawn('redis-server', [file, ...args], { stdio: 'ignore' });
  await once(child, 'spawn');
  await until(async () => (await cli(port, 'PING')) === 'PONG');
  return { port, child };
}

async function cli(port: number, ...args: string[]): Promise<string> {
  const result = await run('redis-cli', ['-p', `${port}`, ...args]).catch(() => ({ stdout: '' }));
  return result.stdout.trim();
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error('the Redis servers do not get ready');
    await sleep(50);
  }
}

async function end({ child }: Server): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

async function grouped(
  start: (folder: string, add: (server: Server) => Server) => Promise<Omit<RedisGroup, symbol>>,
): Promise<RedisGroup> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-redis-group-'));
  const servers: Server[] = [];
  const stop = async () => {
    await Promise.all(servers.map(end));
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const group = await start(folder, (server) => {
      servers.push(server);
      return server;
    });
    return { ...group, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Milliseconds after which a server that does not answer is taken for dead. */
const deadAfter = 1_000;

/** A primary and a replica, and three Sentinels that make the replica the primary some seconds after `deadAfter`. */
export async function startSentinels(options = { deadAfter }): Promise<RedisGroup> {
  return await grouped(async (folder, add) => {
    const [first, second] = [await freePort(), await freePort()];
    const aof = ['appendonly yes', 'repl-diskless-sync-delay 0'];
    const data = [
      add(await startServer(folder, first, aof)),
      add(await startServer(folder, second, [...aof, `replicaof 127.0.0.1 ${first}`])),
    ];
    await until(async () => (await cli(first, 'INFO', 'replication')).includes('state=online'));
    const sentinels = await Promise.all([freePort(), freePort(), freePort()]);
    for (const port of sentinels) {
      const lines = [
        `sentinel monitor queue 127.0.0.1 ${first} 2`,
        `sentinel down-after-milliseconds queue ${options.deadAfter}`,
        'sentinel failover-timeout queue 5000',
      ];
      add(await startServer(folder, port, lines, ['--sentinel']));
    }
    const [sentinel = 0] = sentinels;
    await until(async () =>
      (await cli(sentinel, 'SENTINEL', 'CKQUORUM', 'queue')).startsWith('OK'),
    );
    await until(async () =>
      (await cli(sentinel, 'SENTINEL', 'REPLICAS', 'queue')).includes(`${second}`),
    );
    return {
      url: `redis+sentinel://${sentinels.map((port) => `127.0.0.1:${port}`).join(',')}/queue`,
      killPrimary: async () => {
        const [, port] = (
          await cli(sentinel, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'queue')
        ).split('\n');
        const primary = data.find((server) => server.port === Number(port));
        if (primary === undefined) throw new Error(`no server at port ${port}`);
        await end(primary);
        return primary.port;
      },
    };
  });
}

/** Three primaries, of which each has a replica that takes over some seconds after `deadAfter`. */
export async function startRedisCluster(options = { deadAfter }): Promise<RedisGroup> {
  return await grouped(async (folder, add) => {
    const ports: number[] = [];
    while (ports.length < 6) ports.push(await freePort());
    const lines = [
      ...['appendonly yes', 'cluster-enabled yes', `cluster-node-timeout ${options.deadAfter}`],
      ...['cluster-replica-validity-factor 0', 'repl-diskless-sync-delay 0'],
    ];
    const servers = await Promise.all(
      // The cluster's bus has a port of its own, by default 10,000 above.
      ports.map(async (port) =>
        add(await startServer(folder, port, [...lines, `cluster-port ${await freePort()}`])),
      ),
    );
    const hosts = ports.map((port) => `127.0.0.1:${port}`);
    await run('redis-cli', [
      ...['--cluster', 'create', ...hosts, '--cluster-replicas', '1', '--cluster-yes'],
    ]);
    const [known = 0] = ports;
    const nodes = async () => (await cli(known, 'CLUSTER', 'NODES')).split('\n');
    await until(async () => {
      const infos = await Promise.all(ports.map((port) => cli(port, 'CLUSTER', 'INFO')));
      return infos.every((info) => info.includes('cluster_state:ok'));
    });
    await until(async () => {
      const infos = await Promise.all(ports.map((port) => cli(port, 'INFO', 'replication')));
      return infos.filter((info) => info.includes('master_link_status:up')).length === 3;
    });
    return {
      url: `redis+cluster://${hosts.slice(0, 3).join(',')}`,
      killPrimary: async () => {
        const slot = Number(await cli(known, 'CLUSTER', 'KEYSLOT', '{dray}'));
        const owner = (await nodes()).find((line) => {
          const [, , flags = '', , , , , , ...ranges] = line.split(' ');
          if (!flags.includes('master') || flags.includes('fail')) return false;
          return ranges.some((range) => {
            const [low = -1, high = low] = range.split('-').map(Number);
            return low <= slot && slot <= high;
          });
        });
        const port = Number(/:(\d+)@/.exec(owner ?? '')?.[1]);
        const primary = servers.find((server) => server.port === port);
        if (primary === undefined) throw new Error('nobody has the slot');
        await end(primary);
        return port;
      },
    };
  });
}
