import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { Redis } from 'ioredis';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { pushImage, randomLayer } from '../../support/push.ts';

/** Nodes that one process plays. */
const nodesPerProcess = 125;
const program = path.join(import.meta.dirname, 'agents.ts');

export interface SimulatedFleet extends AsyncDisposable {
  fleet: TestFleet;
  /** A connection of the benchmark's own, which is not measured. */
  meter: Redis;
  nodes: string[];
  addNodes: (count: number) => Promise<void>;
}

/** A real Redis, a real worker and a folder store, and no node yet. */
export async function startSimulatedFleet(): Promise<SimulatedFleet> {
  const fleet = await startFleet({ env: { DRAY_LOG_LEVEL: 'error' } });
  await fleet.startWorker('w1');
  const meter = new Redis(fleet.server.url.slice('unix://'.length));
  const processes: ChildProcess[] = [];
  const nodes: string[] = [];
  return {
    fleet,
    meter,
    nodes,
    addNodes: async (count) => {
      const starts: Promise<unknown>[] = [];
      for (let added = 0; added < count; added += nodesPerProcess) {
        const size = Math.min(nodesPerProcess, count - added);
        const child = spawn(process.execPath, [program, `${nodes.length}`, `${size}`], {
          env: { ...process.env, ...fleet.env, DRAY_LOG_LEVEL: 'error' },
          stdio: ['pipe', 'pipe', 'inherit'],
        });
        processes.push(child);
        nodes.push(...Array.from({ length: size }, (_, i) => `n${nodes.length + i}`));
        starts.push(once(child.stdout ?? child, 'data'));
      }
      await Promise.all(starts);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(
        processes.map(async (child) => {
          const gone = once(child, 'exit');
          child.stdin?.end();
          await gone;
        }),
      );
      meter.disconnect();
      await fleet[Symbol.asyncDispose]();
    },
  };
}

/** An image whose layers have these bytes of noise each. @returns its reference */
export async function pushNoise(
  host: string,
  repository: string,
  options: { layers: number; bytes: number; via?: string },
): Promise<string> {
  const tars = await Promise.all(
    Array.from({ length: options.layers }, (_, i) => randomLayer(options.bytes, `file-${i}`)),
  );
  await pushImage(host, repository, 'v1', tars, { compression: 'none' });
  return `${options.via ?? host}/${repository}:v1`;
}
