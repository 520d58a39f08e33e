import { readFileSync } from 'node:fs';
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
  /** Whether the kernel has system calls of x32. */
  x32: boolean;
  seccomp: SeccompProfile;
}

/** Reads what there is to know of this node. @throws TOOL_MISSING without a seccomp profile */
export async function readHost(options: { signal?: AbortSignal } = {}): Promise<Host> {
  const [status, limits, oomScoreAdj] = ['status', 'limits', 'oom_score_adj'].map((name) =>
    readFileSync(`/proc/self/${name}`, 'utf8'),
  ) as [string, string, string];
  return {
    boundingSet: parseBoundingSet(status),
    oomScoreAdj: Number.parseInt(oomScoreAdj, 10),
    hardLimits: parseHardLimits(limits),
    cgroups: readCgroups(),
    ...thisMachine(),
    seccomp: await loadDefaultProfile(options),
  };
}
