import type { Command } from 'commander';
import type { Config } from '../../shared/config/config.ts';
import { loadConfig } from '../../shared/config/load.ts';
import type { Store } from '../../shared/content/store.ts';
import type { Redis } from '../../shared/queue/connection.ts';
import type { AgentClient } from '../agent/client.ts';
import { isLocalNode } from '../agent/endpoint.ts';

interface CallOptions {
  signal?: AbortSignal;
}

interface FleetOptions extends CallOptions {
  /** Tells what was started; default: on standard error. */
  say?: (line: string) => void;
}

/** The connection of a command to the queue. */
export interface QueueConnection extends AsyncDisposable {
  redis: Redis;
}

/** What a command stands on. Nothing is opened, started or loaded before it is asked for. */
export interface Context {
  readonly config: Config;
  /** The embedded fleet is up, where this machine has no other. Costs next to nothing when it is. */
  fleet(options?: FleetOptions): Promise<void>;
  /** The node that was asked for by `--node`. */
  readonly node?: string;
  /** The agent of that node, or of this machine; that of the embedded fleet is started where it is missing. */
  agent(options?: CallOptions): Promise<AgentClient>;
  /** The agent of this machine where there is one: nothing is started. */
  agentIfAny(): Promise<AgentClient | undefined>;
  /** As {@link agent} on this machine; undefined where no socket is. */
  agentHere(options?: CallOptions): Promise<AgentClient | undefined>;
  /** Redis; that of the embedded fleet is started where it is missing. */
  openQueue(options?: CallOptions): Promise<QueueConnection>;
  openStore(options?: CallOptions): Promise<Store>;
}

/** Reads the configuration that a command was called with. @throws USAGE */
export async function openContext(command: Command): Promise<Context> {
  const { config: file, node } = command.optsWithGlobals<{ config?: string; node?: unknown }>();
  if (file !== undefined) {
    const { resolve } = await import('node:path');
    // The programs of the embedded fleet read the same file.
    process.env.DRAY_CONFIG = resolve(file);
  }
  return contextOf(loadConfig(), typeof node === 'string' ? node : undefined);
}

export function contextOf(config: Config, node?: string): Context {
  const say = (line: string) => process.stderr.write(`${line}\n`);

  async function fleet(options: FleetOptions = {}): Promise<void> {
    if (!config.embedded) return;
    const { ensureFleet } = await import('../embedded/fleet.ts');
    await ensureFleet(config, { say, ...options });
  }

  async function agentClient(): Promise<AgentClient> {
    const { AgentClient } = await import('../agent/client.ts');
    return new AgentClient({ socketPath: config.agent.socket });
  }

  const context: Context = {
    config,
    ...(node === undefined ? {} : { node }),
    fleet,
    async agent(options = {}) {
      await fleet(options);
      if (node === undefined || isLocalNode(config, node)) return await agentClient();
      const { openRemoteAgent } = await import('../agent/remote.ts');
      await using queue = await context.openQueue(options);
      return await openRemoteAgent(config, queue.redis, node);
    },
    async agentIfAny() {
      const { existsSync } = await import('node:fs');
      if (!existsSync(config.agent.socket)) return undefined;
      const client = await agentClient();
      const signal = AbortSignal.timeout(2_000);
      return await client.health({ signal }).then(
        () => client,
        () => undefined,
      );
    },
    async agentHere(options = {}) {
      const { existsSync } = await import('node:fs');
      await fleet(options);
      return existsSync(config.agent.socket) ? await agentClient() : undefined;
    },
    async openQueue(options = {}) {
      const [{ connectRedis }] = await Promise.all([
        import('../../shared/queue/connection.ts'),
        fleet(options),
      ]);
      const redis = connectRedis(config.redis, { name: 'cli' });
      return { redis, [Symbol.asyncDispose]: async () => redis.disconnect() };
    },
    async openStore(options = {}) {
      const { openStore } = await import('../../shared/content/open.ts');
      return await openStore(config.store, options);
    },
  };
  return context;
}
