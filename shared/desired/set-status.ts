import { holdersOf } from '../node/node-images.ts';
import { byName, type NodeInfo } from '../node/registry.ts';
import { selectNodes } from '../node/select.ts';
import { parseSelector } from '../node/selector.ts';
import type { Redis } from '../queue/connection.ts';
import { keysOf } from '../queue/names.ts';
import { type DesiredSet, type DesiredVersion, manifestFor } from './desired-set.ts';
import { parseSchedule } from './schedule.ts';

/** A desired set, and how the fleet is with it. */
export interface DesiredSetStatus extends DesiredSet {
  /** Nodes that match and can be given something, and how many of them hold the current version. */
  nodes: { total: number; ready: number };
  /** When the tag was looked at last, and when it is looked at again. */
  lookedAt?: Date;
  nextLook?: Date;
}

export async function statusOfSet(
  set: DesiredSet,
  nodes: readonly NodeInfo[],
  { redis, prefix }: { redis: Redis; prefix: string },
): Promise<DesiredSetStatus> {
  const { current, schedule, createdAt } = set;
  const { chosen } = selectNodes(nodes, parseSelector(set.selector), set.platform);
  const [lacking, looked] = await Promise.all([
    current === undefined ? chosen : lackingOf(current, chosen, { redis, prefix }),
    redis.hget(keysOf(prefix).desiredLooked, set.name),
  ]);
  const times = [Number(looked ?? 0), current?.since.getTime() ?? 0, createdAt.getTime()];
  const last = new Date(Math.max(...times));
  return {
    ...set,
    nodes: { total: chosen.length, ready: chosen.length - lacking.length },
    ...(current === undefined ? {} : { lookedAt: last }),
    ...(schedule === undefined ? {} : { nextLook: parseSchedule(schedule).next(last) }),
  };
}

/** Those of some nodes that do not hold a version, by name. */
export async function lackingOf(
  version: DesiredVersion,
  nodes: readonly NodeInfo[],
  { redis, prefix }: { redis: Redis; prefix: string },
): Promise<NodeInfo[]> {
  const lacking: NodeInfo[] = [];
  for (const [platform, members] of Map.groupBy(nodes, (node) => node.platform)) {
    const manifest = manifestFor(version, platform);
    const names = members.map(({ name }) => name);
    const holders =
      manifest === undefined
        ? new Set<string>()
        : await holdersOf(redis, prefix, manifest.digest, names);
    lacking.push(...members.filter(({ name }) => !holders.has(name)));
  }
  return lacking.sort(byName);
}
