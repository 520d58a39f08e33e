import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Config } from '../../shared/config/config.ts';
import { isAlive, type ProcessIdentity, readPidFile } from './process-identity.ts';

const root = path.resolve(import.meta.dirname, '../..');

export type PartName = 'redis' | 'worker' | 'agent';

/** A program of the embedded fleet. */
export interface Part {
  name: PartName;
  program: string;
  args: string[];
  env: Record<string, string>;
  pidFile: string;
  logFile: string;
  /** Milliseconds that it has to stop in. */
  stopBound: number;
  /** Removed before it is started: what would make a new one look ready. */
  stale: string[];
  /** Mends what a crash of the machine left of its files, before it is started. */
  repair?: () => Promise<void>;
  /** Whether that process takes work, as far as files tell. */
  isReady: (pid: number) => boolean;
}

/** The parts in the order of their start. */
export function partsOf(config: Config): Part[] {
  const { stateDirectory } = config;
  const folder = path.join(stateDirectory, 'redis');
  const socket = redisSocket(config);
  const env = { REDIS_URL: `unix://${socket}`, DRAY_STATE: stateDirectory };
  const common = (name: PartName) => ({
    name,
    pidFile: path.join(stateDirectory, 'run', `${name}.pid`),
    logFile: path.join(stateDirectory, 'log', `${name}.log`),
  });
  const program = (name: 'worker' | 'agent', main: string, also: string[]): Part => {
    const ready = path.join(stateDirectory, 'run', `${name}.ready`);
    return {
      ...common(name),
      program: process.execPath,
      // With the launcher's own options.
      args: [...process.execArgv, path.join(root, main)],
      env,
      // Longer than the programs' own bound, so that they can end in order.
      stopBound: 25_000,
      stale: [ready],
      isReady: (pid) => readPid(ready) === pid && also.every((file) => existsSync(file)),
    };
  };
  return [
    {
      ...common('redis'),
      program: 'redis-server',
      args: [
        ...['--port', '0', '--unixsocket', socket, '--unixsocketperm', '600', '--dir', folder],
        // Written before it is answered, so that nothing accepted dies with Redis. "everysec" answers first while the
        // disk is slow to sync; what a crash of the machine costs beyond that is history, and pulls that died with it.
        ...['--appendonly', 'yes', '--appendfsync', 'no', '--save', ''],
        // Losing a key of a queue loses a job: rather refuse new ones.
        ...['--maxmemory-policy', 'noeviction'],
      ],
      env: {},
      stopBound: 15_000,
      stale: [socket],
      repair: async () => {
        const { repairAppendOnlyFile } = await import('./append-only-file.ts');
        await repairAppendOnlyFile(folder);
      },
      isReady: () => existsSync(socket),
    },
    program('worker', 'worker/fleet/main.ts', []),
    program('agent', 'worker/agent/main.ts', [config.agent.socket]),
  ];
}

export function redisSocket(config: Config): string {
  return path.join(config.stateDirectory, 'redis', 'redis.sock');
}

/** The process of a part that runs, ready or not. */
export function runningPart(part: Part): ProcessIdentity | undefined {
  const identity = readPidFile(part.pidFile);
  return identity !== undefined && isAlive(identity) ? identity : undefined;
}

function readPid(file: string): number | undefined {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
