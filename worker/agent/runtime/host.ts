import { readFile, stat } from 'node:fs/promises';
import { parseBoundingSet } from './capabilities.ts';
import type { Rlimit } from './runtime-spec.ts';
import { loadDefaultProfile, type SeccompProfile, thisMachine } from './seccomp.ts';

/** What of the node bounds a container: a runtime refuses to give more than its caller has. */
export interface Host {
  /** The bounding set of the agent's capabilities. */
  boundingSet: bigint;
  oomScoreAdj: number;
  /** The hard limit of open files; undefined: unlimited. */
  maxOpenFiles: number | undefined;
  cgroups: 'v1' | 'v2';
  architecture: string;
  kernel: string;
  seccomp: SeccompProfile;
}

/** Programs that use select(2) break above it; those that need more raise it by themselves. */
const softOpenFiles = 1024;
const hardOpenFiles = 1024 * 1024;

/** Reads what there is to know of this node. @throws TOOL_MISSING without a seccomp profile */
export async function readHost(options: { signal?: AbortSignal } = {}): Promise<Host> {
  const read = (path: string) => readFile(path, { encoding: 'utf8', ...options });
  const [status, limits, oomScoreAdj, isV2, seccomp] = await Promise.all([
    read('/proc/self/status'),
    read('/proc/self/limits'),
    read('/proc/self/oom_score_adj'),
    stat('/sys/fs/cgroup/cgroup.controllers').then(
      () => true,
      () => false,
    ),
    loadDefaultProfile(options),
  ]);
  const [, hard] = /^Max open files\s+\S+\s+(\d+)/m.exec(limits) ?? [];
  return {
    boundingSet: parseBoundingSet(status),
    oomScoreAdj: Number.parseInt(oomScoreAdj, 10),
    maxOpenFiles: hard === undefined ? undefined : Number(hard),
    cgroups: isV2 ? 'v2' : 'v1',
    ...thisMachine(),
    seccomp,
  };
}

/** The limits of a container's processes, inside the node's own. */
export function rlimitsFor({ maxOpenFiles = hardOpenFiles }: Pick<Host, 'maxOpenFiles'>): Rlimit[] {
  const hard = Math.min(maxOpenFiles, hardOpenFiles);
  return [{ type: 'RLIMIT_NOFILE', soft: Math.min(softOpenFiles, hard), hard }];
}
