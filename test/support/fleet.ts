import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Config } from '../../shared/config/config.ts';
import { loadConfig } from '../../shared/config/load.ts';
import { enqueuePull } from '../../shared/pull/accept.ts';
import { Pulls } from '../../shared/pull/pulls.ts';
import type { PullRequest, PullStatus } from '../../shared/pull/status.ts';
import { connectRedis, type Redis } from '../../shared/queue/connection.ts';
import { startAgent, startWorker, type TestProgram } from './programs.ts';
import { startRedis, type TestRedis } from './redis.ts';
import { removeRunFolder } from './run-folder.ts';

/** A fleet of real processes on this machine: one Redis, one store, any workers and nodes. */
export interface TestFleet extends AsyncDisposable {
  folder: string;
  config: Config;
  /** The environment that a `dray` command needs to talk to it. */
  env: NodeJS.ProcessEnv;
  server: TestRedis;
  redis: Redis;
  pulls: Pulls;
  startWorker: (name: string, env?: NodeJS.ProcessEnv, network?: string) => Promise<TestProgram>;
  /** `network`: the path of a network namespace. */
  startAgent: (node: string, env?: NodeJS.ProcessEnv, network?: string) => Promise<TestProgram>;
  /** The folder of a node's agent. */
  nodeRoot: (node: string) => string;
  pull: (request: PullRequest, options?: { say?: (line: string) => void }) => Promise<string>;
  /** Waits until a pull has ended. */
  ended: (id: string, timeoutMs?: number) => Promise<PullStatus>;
}

export async function startFleet(
  options: { env?: NodeJS.ProcessEnv; prefix?: string; redisArgs?: string[] } = {},
): Promise<TestFleet> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-fleet-'));
  const server = await startRedis({ args: options.redisArgs ?? [] });
  const env = {
    REDIS_URL: server.url,
    DRAY_STORE: `folder:${path.join(folder, 'content')}`,
    DRAY_STATE: path.join(folder, 'cli'),
    ...options.env,
  };
  const config = loadConfig({ env });
  const redis = connectRedis(config.redis, { name: 'test', patient: true });
  const pulls = new Pulls(redis, config.redis.prefix);
  const programs: Promise<TestProgram>[] = [];
  const nodes = new Set<string>();
  const state = (name: string) => path.join(folder, name);
  const add = (starting: Promise<TestProgram>) => {
    programs.push(starting);
    return starting;
  };
  return {
    folder,
    config,
    env,
    server,
    redis,
    pulls,
    startWorker: (name, own, network) =>
      add(
        startWorker({ state: state(name), env: { ...env, ...own }, ...(network && { network }) }),
      ),
    startAgent: (node, own, network) => {
      nodes.add(node);
      const options = { state: state(node), env: { ...env, DRAY_NODE: node, ...own } };
      return add(startAgent({ ...options, ...(network && { network }) }));
    },
    nodeRoot: (node) => path.join(state(node), 'node'),
    pull: (request, own) => enqueuePull(config, redis, request, own),
    ended: async (id, timeoutMs = 120_000) => {
      let last: PullStatus | undefined;
      const signal = AbortSignal.timeout(timeoutMs);
      for await (const status of pulls.watch(id, { signal })) last = status;
      if (last === undefined || signal.aborted) {
        throw new Error(`pull ${id} did not end: ${JSON.stringify(last)}`);
      }
      return last;
    },
    async [Symbol.asyncDispose]() {
      // One that is still starting when another could not start is ended too.
      const started = await Promise.allSettled(programs);
      await Promise.all(
        started.map(async (program) => {
          if (program.status === 'fulfilled') await program.value[Symbol.asyncDispose]();
        }),
      );
      for (const node of nodes) await removeRunFolder(path.join(state(node), 'node'));
      redis.disconnect();
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
