import { type ChainID, isDigest } from '../image/digest.ts';
import type { Redis } from '../queue/connection.ts';
import { keysOf } from '../queue/names.ts';

/** What a node's disk has, as its agent says. */
export interface NodeDisk {
  /** Committed snapshots. */
  snapshots: number;
  /** What they take, in bytes. */
  bytes: number;
  /** What the disk of the snapshots has, and has left, in bytes. */
  diskSize: number;
  diskFree: number;
}

/** Says what a node has. @param chainIDs of its committed snapshots */
export async function reportHoldings(
  redis: Redis,
  prefix: string,
  node: string,
  disk: NodeDisk,
  chainIDs: readonly ChainID[],
): Promise<void> {
  const keys = keysOf(prefix);
  await redis
    .multi()
    .hset(keys.nodeDisks, node, JSON.stringify(disk))
    .hset(keys.nodeSnapshots, node, chainIDs.join(' '))
    .exec();
}

/** What the nodes have said last, by their names. */
export async function nodeDisks(redis: Redis, prefix: string): Promise<Map<string, NodeDisk>> {
  const values = await redis.hgetall(keysOf(prefix).nodeDisks);
  return new Map(
    Object.entries(values).map(([node, value]) => [node, JSON.parse(value) as NodeDisk]),
  );
}

/** The chainIDs of the snapshots that a node has. It can run an image whose uppermost one is among them. */
export async function nodeSnapshots(
  redis: Redis,
  prefix: string,
  node: string,
): Promise<Set<ChainID>> {
  const value = (await redis.hget(keysOf(prefix).nodeSnapshots, node)) ?? '';
  return new Set(value.split(' ').filter(isDigest) as string[] as ChainID[]);
}
