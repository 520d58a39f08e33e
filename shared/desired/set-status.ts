import { holdersOf } from '../node/node-images.ts';
import type { NodeInfo } from '../node/registry.ts';
import { selectNodes } from '../node/select.ts';
import { parseSelector } from '../node/selector.ts';
import type { Redis } from '../queue/connection.ts';
import { keysOf } from '../queue/names.ts';
import type { DesiredSet } from './desired-set.ts';
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
  const names = chosen.map(({ name }) => name);
  const [holders, looked] = await Promise.all([
    current === undefined
      ? new Set<string>()
      : holdersOf(redis, prefix, current.manifest.digest, names),
    redis.hget(keysOf(prefix).desiredLooked, set.name),
  ]);
  const times = [Number(looked ?? 0), current?.since.getTime() ?? 0, createdAt.getTime()];
  const last = new Date(Math.max(...times));
  return {
    ...set,
    nodes: { total: names.length, ready: holders.size },
    ...(current === undefined ? {} : { lookedAt: last }),
    ...(schedule === undefined ? {} : { nextLook: parseSchedule(schedule).next(last) }),
  };
}
