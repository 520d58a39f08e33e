import { readdirSync, readFileSync } from 'node:fs';

/** The clock of /proc: USER_HZ, 100 on Linux (proc(5)). */
const ticksPerSecond = 100;
const sampleInterval = 20;
const kibibyte = 1024;

export interface Measured {
  /** Seconds. */
  wall: number;
  /** Seconds of user and system time of all processes. */
  cpu: number;
  /** Bytes of the largest sum of proportional set sizes, where it was sampled. */
  peak?: number;
}

/**
 * Times some work that consists of one command (a child of this process, that `work` waits for) and of servers that run already.
 * @param servers whose time counts, with that of the children that they waited for
 * @param options.memory samples memory meanwhile, which costs time: not for runs whose time counts
 */
export async function measure(
  servers: readonly number[],
  work: () => Promise<void>,
  options: { memory?: boolean } = {},
): Promise<Measured> {
  const cpuBefore = cpuOf(servers);
  let peak = 0;
  // The registry, for one: what ran before is none of the tool's but for its servers.
  const before = new Set(treeOf([process.pid]));
  for (const server of treeOf(servers)) before.delete(server);
  const sampler = options.memory
    ? setInterval(() => {
        peak = Math.max(peak, memoryOf([...servers, process.pid], before));
      }, sampleInterval)
    : undefined;
  const start = performance.now();
  try {
    await work();
  } finally {
    clearInterval(sampler);
  }
  const wall = (performance.now() - start) / 1000;
  const cpu = (cpuOf(servers) - cpuBefore) / ticksPerSecond;
  return { wall, cpu, ...(options.memory ? { peak } : {}) };
}

/** Seconds of CPU that a process has used so far. */
export function cpuSeconds(pid: number): number {
  return (readStat(pid)?.own ?? 0) / ticksPerSecond;
}

/** Ticks of the servers and their children that ended, and of this process' children that ended. */
function cpuOf(servers: readonly number[]): number {
  let ticks = 0;
  for (const pid of servers) {
    const { own, children } = readStat(pid) ?? { own: 0, children: 0 };
    ticks += own + children;
  }
  return ticks + (readStat(process.pid)?.children ?? 0);
}

/** The proportional set sizes of these processes and all below them, but for some. */
function memoryOf(roots: readonly number[], except: ReadonlySet<number>): number {
  let bytes = 0;
  for (const pid of treeOf(roots)) if (!except.has(pid)) bytes += proportionalSetSize(pid);
  return bytes;
}

/** These processes and all below them. */
function treeOf(roots: readonly number[]): Set<number> {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const found = readStat(pid);
    if (found !== undefined) parents.set(pid, found.parent);
  }
  const counted = new Set<number>(roots);
  // Parents have lower numbers but where these wrapped: repeat until nothing new is found.
  for (let before = 0; before !== counted.size; ) {
    before = counted.size;
    for (const [pid, parent] of parents) if (counted.has(parent)) counted.add(pid);
  }
  return counted;
}

function proportionalSetSize(pid: number): number {
  const text = readProc(pid, 'smaps_rollup');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text ?? '')?.[1] ?? 0) * kibibyte;
}

function readStat(pid: number): { parent: number; own: number; children: number } | undefined {
  const text = readProc(pid, 'stat');
  if (text === undefined) return undefined;
  // The name, in parentheses, may have anything in it.
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const [, parent = 0] = fields;
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15);
  return { parent, own: utime + stime, children: cutime + cstime };
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return undefined;
  }
}
