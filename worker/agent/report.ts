import { statfs } from 'node:fs/promises';
import type { ChainID } from '../../shared/image/digest.ts';
import type { Logger } from '../../shared/logging.ts';
import { reportHoldings } from '../../shared/node/holdings.ts';
import { heartbeatInterval } from '../../shared/node/registry.ts';
import type { Redis } from '../../shared/queue/connection.ts';
import type { Snapshots } from './snapshot/snapshots.ts';

/** Says to the fleet what the node has, now and every few seconds. @returns ends it */
export function keepReporting(services: {
  node: string;
  root: string;
  redis: Redis;
  prefix: string;
  snapshots: Pick<Snapshots, 'list'>;
  log: Logger;
}): () => void {
  const { node, root, redis, prefix, snapshots, log } = services;
  const report = async () => {
    const { bavail, blocks, bsize } = await statfs(root);
    const committed = snapshots.list().filter(({ kind }) => kind === 'committed');
    const chainIDs = committed.map(({ name }) => name as ChainID);
    const disk = {
      snapshots: committed.length,
      bytes: committed.reduce((sum, { bytes }) => sum + bytes, 0),
      diskSize: blocks * bsize,
      diskFree: bavail * bsize,
    };
    await reportHoldings(redis, prefix, node, disk, chainIDs);
  };
  const tryReport = () => {
    report().catch((error: unknown) => log.debug({ err: error }, 'what the node has was not said'));
  };
  tryReport();
  const timer = setInterval(tryReport, heartbeatInterval / 2);
  return () => clearInterval(timer);
}
