import { DrayError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import type { Redis } from '../queue/connection.ts';
import { type Keys, keysOf } from '../queue/names.ts';
import { clock, executed, runScript } from '../queue/script.ts';
import type { Labels } from './labels.ts';

/** The disk of a node's snapshots. */
export interface NodeDisk {
  /** Committed snapshots. */
  snapshots: number;
  /** What they take, in bytes. */
  bytes: number;
  /** What the disk has, and has left, in bytes. */
  diskSize: number;
  diskFree: number;
}

/** A node as its agent describes it. */
export interface NodeDescription {
  name: string;
  platform: string;
  version: string;
  /** `host:port` where its agent answers other machines, if it does. */
  address?: string;
  labels: Labels;
  capacity: { cpus: number; memoryBytes: number };
  disk: NodeDisk;
  /** Images that it holds, ready to run. */
  images: number;
  /** Containers that run. */
  containers: number;
  /** What is not well with it, for people; empty when all is. */
  problems: string[];
}

/** What people have said of a node: it gets nothing new; or what it has under way is taken from it as well. */
export type NodeMark = 'cordoned' | 'drained';

export interface NodeInfo extends NodeDescription {
  /** Lost: its agent was not heard of for 30 s. */
  state: 'ready' | 'lost';
  mark?: NodeMark;
  /** When its agent was last heard of. */
  seenAt: Date;
}

/** Milliseconds between two heartbeats of an agent. */
export const heartbeatInterval = 10_000;
/** A node that was silent for so many milliseconds is lost. */
const lostAfter = 3 * heartbeatInterval;

/** Times are Redis's: agents' clocks need not be right. */
const heartbeatScript = `${clock}
redis.call('ZADD', KEYS[2], now, ARGV[1])
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
`;

/**
 * An agent's heartbeat; the first one registers the node.
 * @returns whether the fleet did not know the node (any more)
 */
export async function heartbeat(
  redis: Redis,
  prefix: string,
  { name, ...description }: NodeDescription,
): Promise<boolean> {
  const keys = keysOf(prefix);
  const value = JSON.stringify(description);
  const where = [keys.nodes, keys.nodesSeen];
  return (await runScript(redis, heartbeatScript, where, [name, value])) === 1;
}

const nameOrder = new Intl.Collator('en', { numeric: true });

/** Orders by name: n9 comes before n10. */
export function byName(a: { name: string }, b: { name: string }): number {
  return nameOrder.compare(a.name, b.name);
}

/** Every node that registered, by name. */
export async function listNodes(redis: Redis, prefix: string): Promise<NodeInfo[]> {
  const keys = keysOf(prefix);
  const [values, seen, marks, now] = await Promise.all([
    redis.hgetall(keys.nodes),
    redis.zrange(keys.nodesSeen, '0', '-1', 'WITHSCORES'),
    redis.hgetall(keys.nodeMarks),
    timeOf(redis),
  ]);
  const seenAt = new Map<string, number>();
  for (let i = 0; i < seen.length; i += 2) seenAt.set(seen[i] ?? '', Number(seen[i + 1]));
  return Object.entries(values)
    .map(([name, value]) => nodeInfo(name, value, seenAt.get(name) ?? 0, marks[name], now))
    .sort(byName);
}

/** Some nodes, in the order of their names here. @throws NOT_FOUND with the names of some that there are */
export async function getNodes(
  redis: Redis,
  prefix: string,
  names: readonly string[],
): Promise<NodeInfo[]> {
  if (names.length === 0) return [];
  const keys = keysOf(prefix);
  const [values, seen, marks, now] = await Promise.all([
    redis.hmget(keys.nodes, ...names),
    redis.zmscore(keys.nodesSeen, ...names),
    redis.hmget(keys.nodeMarks, ...names),
    timeOf(redis),
  ]);
  const unknown = names.filter((_, at) => typeof values[at] !== 'string');
  if (unknown.length > 0) throw nodeUnknown(unknown, await redis.hkeys(keys.nodes));
  return names.map((name, at) =>
    nodeInfo(name, values[at] ?? '', Number(seen[at] ?? 0), marks[at] ?? undefined, now),
  );
}

/** One node. @throws as {@link getNodes} */
export async function getNode(redis: Redis, prefix: string, name: string): Promise<NodeInfo> {
  const [node] = await getNodes(redis, prefix, [name]);
  if (node === undefined) throw nodeUnknown([name], []);
  return node;
}

function nodeInfo(
  name: string,
  value: string,
  seen: number,
  mark: string | undefined,
  now: number,
): NodeInfo {
  return {
    name,
    ...(JSON.parse(value) as Omit<NodeDescription, 'name'>),
    state: now - seen > lostAfter ? 'lost' : 'ready',
    ...(mark === undefined ? {} : { mark: mark as NodeMark }),
    seenAt: new Date(seen),
  };
}

/** What is said of nodes that never registered. */
function nodeUnknown(names: readonly string[], known: readonly string[]): DrayError {
  return new DrayError(
    'NOT_FOUND',
    `No node ${names.map((name) => `"${name}"`).join(', ')} in the fleet`,
    {
      hint:
        known.length === 0
          ? 'No agent has registered yet. Start one with: dray agent --node NAME'
          : `The nodes are: ${known.toSorted(nameOrder.compare).slice(0, 20).join(', ')}${known.length > 20 ? ', …' : '.'}`,
    },
  );
}

/** When nodes were last heard of; one that is not in the fleet is missing. */
export async function nodeSeen(
  redis: Redis,
  keys: Keys,
  names: readonly string[],
): Promise<Map<string, { seenAt: Date; silentMs: number }>> {
  const seen = new Map<string, { seenAt: Date; silentMs: number }>();
  if (names.length === 0) return seen;
  const [scores, now] = await Promise.all([redis.zmscore(keys.nodesSeen, ...names), timeOf(redis)]);
  for (const [index, name] of names.entries()) {
    const score = scores[index];
    if (score === null || score === undefined) continue;
    seen.set(name, { seenAt: new Date(Number(score)), silentMs: now - Number(score) });
  }
  return seen;
}

/** Sets or takes back what people say of a node. @throws NOT_FOUND */
export async function markNode(
  redis: Redis,
  prefix: string,
  name: string,
  mark: NodeMark | undefined,
): Promise<void> {
  await getNode(redis, prefix, name);
  const { nodeMarks } = keysOf(prefix);
  if (mark === undefined) await redis.hdel(nodeMarks, name);
  else await redis.hset(nodeMarks, name, mark);
}

/** Forgets a node. One whose agent lives registers itself again. @throws NOT_FOUND; CONFLICT for one that is not lost */
export async function removeNode(redis: Redis, prefix: string, name: string): Promise<void> {
  const { state } = await getNode(redis, prefix, name);
  if (state !== 'lost') {
    throw new DrayError('CONFLICT', `The node ${name} is in use: its agent was heard of just now`, {
      hint: `Stop its agent first, and wait for half a minute. So that it gets nothing new meanwhile: dray nodes drain ${name}`,
    });
  }
  const keys = keysOf(prefix);
  const held = await redis.smembers(keys.nodeImages(name));
  // The node itself goes last: who dies before can ask for it again.
  for (const digest of held) await redis.srem(keys.imageNodes(digest as Digest), name);
  await executed(
    redis
      .multi()
      .del(keys.nodeImages(name))
      .zrem(keys.nodesSeen, name)
      .hdel(keys.nodeMarks, name)
      .hdel(keys.nodes, name)
      .exec(),
  );
}

/** Redis's clock, in milliseconds. */
async function timeOf(redis: Redis): Promise<number> {
  const [seconds = 0, microseconds = 0] = await redis.time();
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
}
