import type { Redis } from '../queue/connection.ts';
import { type Keys, keysOf } from '../queue/names.ts';

/** A node as its agent describes it. */
export interface NodeInfo {
  name: string;
  platform: string;
  version: string;
  /** When its agent was last heard of. */
  seenAt: Date;
}

/** Milliseconds between two heartbeats of an agent. */
export const heartbeatInterval = 10_000;
/** A node that was silent for so many milliseconds is lost. */
const lostAfter = 3 * heartbeatInterval;

export function isLost(node: NodeInfo, now: Date): boolean {
  return now.getTime() - node.seenAt.getTime() > lostAfter;
}

/** An agent's heartbeat; the first one registers the node. */
export async function heartbeat(
  redis: Redis,
  prefix: string,
  node: Omit<NodeInfo, 'seenAt'>,
): Promise<void> {
  const { name, platform, version } = node;
  const value = JSON.stringify({ platform, version, seenAt: Date.now() });
  await redis.hset(keysOf(prefix).nodes, name, value);
}

/** Every node that registered, by name. */
export async function listNodes(redis: Redis, prefix: string): Promise<NodeInfo[]> {
  const values = await redis.hgetall(keysOf(prefix).nodes);
  return Object.entries(values)
    .map(([name, value]) => {
      const { platform, version, seenAt } = JSON.parse(value) as {
        platform: string;
        version: string;
        seenAt: number;
      };
      return { name, platform, version, seenAt: new Date(seenAt) };
    })
    .sort((a, b) => a.name.localeCompare(b.name));
}

/** When nodes were last heard of; one that is not in the fleet is missing. */
export async function nodeSeen(
  redis: Redis,
  keys: Keys,
  names: readonly string[],
): Promise<Map<string, { seenAt: Date; silentMs: number }>> {
  const seen = new Map<string, { seenAt: Date; silentMs: number }>();
  if (names.length === 0) return seen;
  const values = await redis.hmget(keys.nodes, ...names);
  for (const [index, name] of names.entries()) {
    const value = values[index];
    if (value === null || value === undefined) continue;
    const { seenAt } = JSON.parse(value) as { seenAt: number };
    seen.set(name, { seenAt: new Date(seenAt), silentMs: Date.now() - seenAt });
  }
  return seen;
}
