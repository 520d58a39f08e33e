import { readFile } from 'node:fs/promises';
import { parseBoundingSet } from './capabilities.ts';
import { type Cgroups, readCgroups } from './cgroups.ts';
import { parseHardLimits } from './rlimits.ts';
import { loadDefaultProfile, type SeccompProfile, thisMachine } from './seccomp.ts';

/** What of the node bounds a container: a runtime refuses to give more than its caller has. */
export interface Host {
  /** The bounding set of the agent's capabilities. */
  boundingSet: bigint;
  oomScoreAdj: number;
  /** By the names of docker's --ulimit; those without a limit are not in it. */
  hardLimits: ReadonlyMap<string, number>;
  cgroups: Cgroups;
  architecture: string;
  kernel: string;
  seccomp: SeccompProfile;
}

/** Reads what there is to know of this node. @throws TOOL_MISSING without a seccomp profile */
export async function readHost(options: { signal?: AbortSignal } = {}): Promise<Host> {
  const read = (path: string) => readFile(path, { encoding: 'utf8', ...options });
  const [status, limits, oomScoreAdj, cgroups, seccomp] = await Promise.all([
    read('/proc/self/status'),
    read('/proc/self/limits'),
    read('/proc/self/oom_score_adj'),
    readCgroups(options),
    loadDefaultProfile(options),
  ]);
  return {
    boundingSet: parseBoundingSet(status),
    oomScoreAdj: Number.parseInt(oomScoreAdj, 10),
    hardLimits: parseHardLimits(limits),
    cgroups,
    ...thisMachine(),
    seccomp,
  };
}
