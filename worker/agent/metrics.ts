import { statfs } from 'node:fs/promises';
import { Counter, Gauge } from 'prom-client';
import { metrics } from '../../shared/telemetry/metrics.ts';
import type { Containers } from './containers/containers.ts';
import type { Snapshots } from './snapshot/snapshots.ts';

export const lostBlobs = new Counter({
  name: 'dray_store_lost_blobs_total',
  help: 'Blobs that this node found missing in the content store, or wrong, and that were fetched again',
  registers: [metrics],
});

/** Lets a scrape see what the node has. */
export function measureNode(services: {
  root: string;
  snapshots: Pick<Snapshots, 'list'>;
  containers: Pick<Containers, 'list'>;
}): void {
  const { root, snapshots, containers } = services;
  new Gauge({
    name: 'dray_snapshots',
    help: 'Snapshots of the node by kind',
    labelNames: ['kind'] as const,
    registers: [metrics],
    collect() {
      this.reset();
      for (const { kind } of snapshots.list()) this.inc({ kind });
    },
  });
  new Gauge({
    name: 'dray_snapshots_bytes',
    help: 'What the committed snapshots of the node take on its disk',
    registers: [metrics],
    collect() {
      this.set(snapshots.list().reduce((sum, { bytes }) => sum + bytes, 0));
    },
  });
  new Gauge({
    name: 'dray_containers',
    help: 'Containers of the node by state',
    labelNames: ['state'] as const,
    registers: [metrics],
    collect() {
      this.reset();
      for (const { state } of containers.list()) this.inc({ state });
    },
  });
  const size = new Gauge({
    name: 'dray_node_disk_size_bytes',
    help: 'What the disk of the snapshots holds',
    registers: [metrics],
  });
  new Gauge({
    name: 'dray_node_disk_free_bytes',
    help: 'What is left on the disk of the snapshots',
    registers: [metrics],
    async collect() {
      const { bavail, blocks, bsize } = await statfs(root);
      size.set(blocks * bsize);
      this.set(bavail * bsize);
    },
  });
}
