import { statfs } from 'node:fs/promises';
import { Gauge } from 'prom-client';
import { metrics } from '../../shared/telemetry/metrics.ts';
import type { Containers } from './containers/containers.ts';
import type { Snapshots } from './snapshot/snapshots.ts';

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
    name: 'dray_containers',
    help: 'Containers of the node by state',
    labelNames: ['state'] as const,
    registers: [metrics],
    collect() {
      this.reset();
      for (const { state } of containers.list()) this.inc({ state });
    },
  });
  new Gauge({
    name: 'dray_node_disk_free_bytes',
    help: 'What is left on the disk of the snapshots',
    registers: [metrics],
    async collect() {
      const { bavail, bsize } = await statfs(root);
      this.set(bavail * bsize);
    },
  });
}
