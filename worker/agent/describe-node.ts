import { statfs } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import type { NodeDescription } from '../../shared/node/registry.ts';
import type { Snapshots } from './snapshot/snapshots.ts';

/** Of a disk: when no more than this is left, that is a problem. */
const leastFree = 0.05;

/** What an agent says of its node at each heartbeat, besides what it holds. */
export interface NodeMeasures
  extends Pick<NodeDescription, 'capacity' | 'disk' | 'containers' | 'problems'> {}

/** Measures the node. @param root of the agent: its disk is the one that counts */
export async function measureNodeNow(options: {
  root: string;
  snapshots: Pick<Snapshots, 'list'>;
  containers: number;
  problems: readonly string[];
}): Promise<NodeMeasures> {
  const { root, snapshots, containers, problems } = options;
  const { blocks, bavail, bsize } = await statfs(root);
  const isFull = bavail < blocks * leastFree;
  const committed = snapshots.list().filter(({ kind }) => kind === 'committed');
  return {
    capacity: { cpus: availableParallelism(), memoryBytes: totalmem() },
    disk: {
      snapshots: committed.length,
      bytes: committed.reduce((sum, { bytes }) => sum + bytes, 0),
      diskSize: blocks * bsize,
      diskFree: bavail * bsize,
    },
    containers,
    problems: [
      ...(isFull ? [`less than ${leastFree * 100} % of the disk of ${root} is left`] : []),
      ...problems,
    ],
  };
}
