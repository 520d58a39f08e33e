import { readFile } from 'node:fs/promises';
import type { ResourceLimits } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import { type Cgroups, requireController } from './cgroups.ts';
import type { SpecResources } from './runtime-spec.ts';

/** Microseconds in which a quota of CPU time is counted. */
const cpuPeriod = 100_000;
/** Less, and the runtime itself does not fit in. moby refuses the same. */
const leastMemory = 6 * 1024 * 1024;

/**
 * The limits of a container's cgroup, as moby has them: with a memory limit alone, as much swap as memory.
 * @throws CONFIG_INVALID for what is at odds, or what this node can't limit
 */
export async function resourcesFor(
  limits: ResourceLimits,
  cgroups: Cgroups,
): Promise<Omit<SpecResources, 'devices'>> {
  const { cpus, cpuShares, cpuset, pids } = limits;
  const memory = memoryFor(limits, cgroups);
  const cpu = {
    ...(cpus === undefined ? {} : { quota: Math.round(cpus * cpuPeriod), period: cpuPeriod }),
    ...(cpuShares === undefined ? {} : { shares: cpuShares }),
    ...(cpuset === undefined ? {} : { cpus: cpuset }),
  };
  if (cpus !== undefined || cpuShares !== undefined) requireController(cgroups, 'cpu', 'CPU time');
  if (cpuset !== undefined) {
    requireController(cgroups, 'cpuset', 'processors');
    await checkProcessors(cpuset);
  }
  if (pids !== undefined) requireController(cgroups, 'pids', 'the number of processes');
  return {
    ...(memory === undefined ? {} : { memory }),
    ...(Object.keys(cpu).length === 0 ? {} : { cpu }),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
  };
}

function memoryFor(
  { memory, memorySwap }: ResourceLimits,
  cgroups: Cgroups,
): SpecResources['memory'] | undefined {
  if (memory === undefined) {
    if (memorySwap === undefined) return undefined;
    throw new DrayError('CONFIG_INVALID', 'A limit of swap needs a limit of memory', {
      hint: 'Give --memory too.',
    });
  }
  requireController(cgroups, 'memory', 'memory');
  if (memory < leastMemory) {
    throw new DrayError('CONFIG_INVALID', `A container can't live in ${memory} bytes of memory`, {
      hint: 'The least is 6m.',
    });
  }
  if (memorySwap !== undefined && memorySwap !== -1 && memorySwap < memory) {
    throw new DrayError('CONFIG_INVALID', 'The limit of memory and swap is below that of memory', {
      hint: '--memory-swap counts both together.',
    });
  }
  if (!cgroups.swap) {
    if (memorySwap === undefined || memorySwap === memory) return { limit: memory };
    throw new DrayError(
      'CONFIG_INVALID',
      "This node can't limit swap: its kernel does not count it",
      {
        hint: 'Leave --memory-swap out.',
      },
    );
  }
  return { limit: memory, swap: memorySwap ?? 2 * memory };
}

async function checkProcessors(cpuset: string): Promise<void> {
  const online = parseCpuList((await readFile('/sys/devices/system/cpu/online', 'utf8')).trim());
  const wanted = parseCpuList(cpuset);
  const missing = [...(wanted ?? [])].find((cpu) => online?.has(cpu) === false);
  if (wanted !== undefined && missing === undefined) return;
  throw new DrayError(
    'CONFIG_INVALID',
    wanted === undefined
      ? `"${cpuset.slice(0, 100)}" is not a list of processors`
      : `This node has no processor ${missing}`,
    { hint: 'A list is as 0-3,5.' },
  );
}

/** The numbers of cpuset(7)'s list format; undefined for what is none. */
function parseCpuList(text: string): Set<number> | undefined {
  const cpus = new Set<number>();
  for (const part of text.split(',')) {
    const [, low = '', high = low] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part) ?? [];
    if (low === '' || Number(high) < Number(low)) return undefined;
    for (let cpu = Number(low); cpu <= Number(high); cpu++) cpus.add(cpu);
  }
  return cpus;
}
