import { readdir, readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import type { ContainerStats, ProcessStatus } from '../../../shared/agent/observe.ts';
import { errnoOf } from '../../../shared/errors.ts';

const root = '/sys/fs/cgroup';
/** USER_HZ of proc(5): the same on all architectures that Node runs on. */
const ticksPerSecond = 100;

/**
 * What the processes of a container have used.
 * @param pid of one of them @param ownNetwork whether they have a network of their own
 * @returns undefined when they have ended
 */
export async function readStats(
  pid: number,
  ownNetwork: boolean,
): Promise<Omit<ContainerStats, 'id' | 'at'> | undefined> {
  try {
    const groups = await cgroupsOf(pid);
    const unified = groups.get('');
    const isUnified = unified !== undefined && !groups.has('memory');
    const used = isUnified ? await readV2(unified) : await readV1(groups);
    const network = ownNetwork ? await readNetwork(pid) : undefined;
    return { ...used, ...(network === undefined ? {} : { network }) };
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'ENODEV'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** The folder of each controller that a process is in; `''`: that of the unified hierarchy. */
async function cgroupsOf(pid: number): Promise<Map<string, string>> {
  const groups = new Map<string, string>();
  for (const line of (await readFile(`/proc/${pid}/cgroup`, 'utf8')).split('\n')) {
    const [, names, group] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (names === undefined || group === undefined) continue;
    for (const name of names.split(',')) groups.set(name, join(root, names, group));
  }
  return groups;
}

type Used = Pick<
  ContainerStats,
  'cpuNanoseconds' | 'memoryBytes' | 'memoryLimitBytes' | 'processes' | 'disk'
>;

async function readV2(folder: string): Promise<Used> {
  const [cpu, memory, current, max, processes, io] = await Promise.all([
    readPairs(join(folder, 'cpu.stat')),
    readPairs(join(folder, 'memory.stat')),
    readNumber(join(folder, 'memory.current')),
    readNumber(join(folder, 'memory.max')),
    readNumber(join(folder, 'pids.current')),
    readFile(join(folder, 'io.stat'), 'utf8').catch(() => ''),
  ]);
  const sum = (name: string) =>
    [...io.matchAll(new RegExp(`\\b${name}=(\\d+)`, 'g'))].reduce(
      (all, [, n]) => all + Number(n),
      0,
    );
  return {
    cpuNanoseconds: (cpu.get('usage_usec') ?? 0) * 1000,
    ...memoryOf(current, max, memory.get('inactive_file')),
    processes: processes ?? 0,
    disk: { readBytes: sum('rbytes'), writtenBytes: sum('wbytes') },
  };
}

async function readV1(groups: Map<string, string>): Promise<Used> {
  const at = (controller: string, file: string) => join(groups.get(controller) ?? '/none', file);
  const [cpu, memory, current, max, processes, io] = await Promise.all([
    readNumber(at('cpuacct', 'cpuacct.usage')),
    readPairs(at('memory', 'memory.stat')),
    readNumber(at('memory', 'memory.usage_in_bytes')),
    readNumber(at('memory', 'memory.limit_in_bytes')),
    readNumber(at('pids', 'pids.current')),
    readFile(at('blkio', 'blkio.throttle.io_service_bytes'), 'utf8').catch(() => ''),
  ]);
  const sum = (name: string) =>
    [...io.matchAll(new RegExp(`^\\d+:\\d+ ${name} (\\d+)$`, 'gm'))].reduce(
      (all, [, n]) => all + Number(n),
      0,
    );
  return {
    cpuNanoseconds: cpu ?? 0,
    ...memoryOf(current, max, memory.get('total_inactive_file')),
    processes: processes ?? 0,
    disk: { readBytes: sum('Read'), writtenBytes: sum('Write') },
  };
}

function memoryOf(
  current = 0,
  max = Number.POSITIVE_INFINITY,
  inactiveFile = 0,
): Pick<Used, 'memoryBytes' | 'memoryLimitBytes'> {
  return {
    memoryBytes: Math.max(0, current - inactiveFile),
    memoryLimitBytes: Math.min(max, totalmem()),
  };
}

async function readNetwork(pid: number): Promise<ContainerStats['network']> {
  const text = await readFile(`/proc/${pid}/net/dev`, 'utf8');
  let [receivedBytes, sentBytes] = [0, 0];
  for (const [, name, numbers = ''] of text.matchAll(/^\s*([^:\s]+):(.*)$/gm)) {
    if (name === 'lo') continue;
    const fields = numbers.trim().split(/\s+/).map(Number);
    receivedBytes += fields[0] ?? 0;
    sentBytes += fields[8] ?? 0;
  }
  return { receivedBytes, sentBytes };
}

/** @returns undefined for a controller that the node does not have, and for `max` */
async function readNumber(file: string): Promise<number | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return /^\d+\s*$/.test(text) ? Number(text) : undefined;
}

async function readPairs(file: string): Promise<Map<string, number>> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return new Map(
    [...text.matchAll(/^(\S+) (\d+)$/gm)].map(([, name = '', n]) => [name, Number(n)]),
  );
}

/** The processes in the cgroup of one, and in those below it. */
export async function readProcesses(pid: number): Promise<ProcessStatus[]> {
  const groups = await cgroupsOf(pid).catch(() => new Map<string, string>());
  const folder = groups.get('pids') ?? groups.get('memory') ?? groups.get('');
  if (folder === undefined) return [];
  const bootedAt = await bootTime();
  const found = await Promise.all((await pidsBelow(folder)).map((id) => readProcess(id, bootedAt)));
  return found.flatMap((process) => process ?? []).sort((a, b) => a.ownPid - b.ownPid);
}

async function pidsBelow(folder: string): Promise<number[]> {
  const text = await readFile(join(folder, 'cgroup.procs'), 'utf8').catch(() => '');
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const below = await Promise.all(
    entries.filter((entry) => entry.isDirectory()).map(({ name }) => pidsBelow(join(folder, name))),
  );
  return [...text.split('\n').filter(Boolean).map(Number), ...below.flat()];
}

async function bootTime(): Promise<number> {
  const [, seconds] = /^btime (\d+)$/m.exec(await readFile('/proc/stat', 'utf8')) ?? [];
  return Number(seconds) * 1000;
}

/** @returns undefined when it has ended */
async function readProcess(pid: number, bootedAt: number): Promise<ProcessStatus | undefined> {
  try {
    const [stat, status, commandLine] = await Promise.all(
      ['stat', 'status', 'cmdline'].map((name) => readFile(`/proc/${pid}/${name}`, 'utf8')),
    );
    // The name may have spaces and brackets in it (proc_pid_stat(5)).
    const name = /\((.*)\)/s.exec(stat ?? '')?.[1] ?? '';
    const fields = (stat ?? '').slice((stat ?? '').lastIndexOf(')') + 2).split(' ');
    const ticks = (index: number) => (Number(fields[index]) * 1000) / ticksPerSecond;
    const own = /^NSpid:.*\s(\d+)$/m.exec(status ?? '')?.[1];
    return {
      pid,
      ownPid: Number(own ?? pid),
      parent: Number(fields[1]),
      uid: Number(/^Uid:\s+(\d+)/m.exec(status ?? '')?.[1]),
      state: fields[0] ?? '?',
      cpuMilliseconds: ticks(11) + ticks(12),
      startedAt: new Date(bootedAt + ticks(19)).toISOString(),
      command: (commandLine ?? '').split('\0').join(' ').trim() || `[${name}]`,
    };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
}
