import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DrayError } from '../../../shared/errors.ts';

const root = '/sys/fs/cgroup';

/** What this node's control groups can limit. */
export interface Cgroups {
  version: 'v1' | 'v2';
  controllers: ReadonlySet<string>;
  /** Whether swap is counted too. */
  swap: boolean;
}

/** Looks at what is mounted: the unified hierarchy (v2), or one folder a controller (v1, hybrid too). */
export function readCgroups(): Cgroups {
  const unified = join(root, 'cgroup.controllers');
  if (existsSync(unified)) {
    const listed = readFileSync(unified, 'utf8');
    return {
      version: 'v2',
      controllers: new Set(listed.split(/\s+/).filter((name) => name !== '')),
      // The root itself has no such file; a kernel that does not count swap has no swap in its statistics.
      swap: foldersIn(root).some((name) => existsSync(join(root, name, 'memory.swap.max'))),
    };
  }
  return {
    version: 'v1',
    // Two that are mounted together are one folder: cpu,cpuacct.
    controllers: new Set(foldersIn(root).flatMap((name) => name.split(','))),
    swap: existsSync(join(root, 'memory', 'memory.memsw.limit_in_bytes')),
  };
}

/** Where there is nothing, nothing can be limited. */
function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** @throws CONFIG_INVALID when the node has no such controller */
export function requireController(cgroups: Cgroups, name: string, what: string): void {
  if (cgroups.controllers.has(name)) return;
  throw new DrayError(
    'CONFIG_INVALID',
    `This node can't limit ${what}: it has no cgroup controller "${name}"`,
    { hint: `Leave the limit out, or let the kernel have it (cgroup ${cgroups.version}).` },
  );
}
