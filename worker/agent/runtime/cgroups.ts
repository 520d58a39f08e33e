import { access, readdir, readFile } from 'node:fs/promises';
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
export async function readCgroups(options: { signal?: AbortSignal } = {}): Promise<Cgroups> {
  const listed = await readFile(join(root, 'cgroup.controllers'), {
    encoding: 'utf8',
    ...options,
  }).catch(() => undefined);
  options.signal?.throwIfAborted();
  if (listed !== undefined) {
    return {
      version: 'v2',
      controllers: new Set(listed.split(/\s+/).filter((name) => name !== '')),
      // The root itself has no such file; a kernel that does not count swap has no swap in its statistics.
      swap: await hasSwapStatistics(),
    };
  }
  const folders = await readdir(root).catch(() => []);
  const swap = join(root, 'memory', 'memory.memsw.limit_in_bytes');
  return {
    version: 'v1',
    // Two that are mounted together are one folder: cpu,cpuacct.
    controllers: new Set(folders.flatMap((folder) => folder.split(','))),
    swap: await access(swap).then(
      () => true,
      () => false,
    ),
  };
}

async function hasSwapStatistics(): Promise<boolean> {
  for (const folder of await readdir(root, { withFileTypes: true })) {
    if (!folder.isDirectory()) continue;
    try {
      await access(join(root, folder.name, 'memory.swap.max'));
      return true;
    } catch {
      // This child does not have the controller.
    }
  }
  return false;
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
