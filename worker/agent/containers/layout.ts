import { createHash } from 'node:crypto';
import { join } from 'node:path';

/** Where the files of containers lie on the node. */
export interface Layout {
  /** One bundle for each container, named after its instance. */
  bundles: string;
  /** Files with the exit codes of containers that ended, named after the instance. */
  exits: string;
  /** What all agents of the node share of what a reboot ends. */
  shared: string;
  /** What of the following a reboot ends. */
  run: string;
  /** Sockets for attaching. */
  sockets: string;
  /** The runtime's own state: on a file system that a reboot empties. */
  runtime: string;
  /** The network namespaces of containers on the bridge, and what the plugins answered: emptied by a reboot. */
  networks: string;
  /** The bridge's addresses in use: of all agents of the node that share it. */
  addresses: string;
  /** The roots of containers with ids of their own, which have to get there: only they can, each to its own. */
  roots: string;
  /** Volumes with a name. */
  volumes: string;
  /** Before the instance in the name of a cgroup. Two agents on one node do not share it. */
  cgroupPrefix: string;
}

/** @param root the agent's root folder, without symlinks @param run such a folder; default below /run */
export function layoutOf(root: string, run?: string): Layout {
  const key = createHash('sha256').update(root).digest('hex').slice(0, 12);
  const shared = run ?? '/run/drayage';
  const folder = run ?? join(shared, key);
  return {
    bundles: join(root, 'containers'),
    exits: join(root, 'exits'),
    shared,
    run: folder,
    sockets: join(folder, 'sockets'),
    runtime: join(folder, 'runtime'),
    networks: join(folder, 'networks'),
    addresses: join(shared, 'addresses'),
    roots: join(folder, 'roots'),
    volumes: join(root, 'volumes'),
    cgroupPrefix: `/drayage/${key}-`,
  };
}

/** The files of one container. */
export function bundleOf(layout: Layout, instance: string) {
  const bundle = join(layout.bundles, instance);
  return {
    bundle,
    config: join(bundle, 'config.json'),
    rootfs: join(hasOwnIDs(instance) ? join(layout.roots, instance) : bundle, 'rootfs'),
    log: join(bundle, 'output.log'),
    /** Volumes of its own. */
    volumes: join(bundle, 'volumes'),
    /** Is there when the kernel ended a process of it for its memory. */
    oom: join(bundle, 'oom'),
    exit: join(layout.exits, instance),
  };
}

/** Ends the name of an instance with ids of its own. */
export const ownIDs = '.ids';

/** Whether a container is in a user namespace: what is left of it after a crash says so by its name alone. */
export function hasOwnIDs(instance: string): boolean {
  return instance.endsWith(ownIDs);
}
