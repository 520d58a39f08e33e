import { closeSync, constants, openSync } from 'node:fs';
import { posix } from 'node:path';
import { DrayError } from '../../../shared/errors.ts';
import { readSpec } from './bundle.ts';
import { type Container, isLive } from './container.ts';
import { bundleOf } from './layout.ts';
import { openProcessRoot } from './process-root.ts';
import type { ContainerServices } from './services.ts';

/** The root folder of a container, which is open until it is disposed. */
export interface ContainerRoot extends AsyncDisposable {
  fd: number;
  /** Refuses a path that a volume covers once the container runs. @throws CONFLICT */
  requireVisible: (path: string) => void;
  /** Ids on the node of those in the container, and the reverse. */
  toNode: (id: number) => number;
  toContainer: (id: number) => number;
}

/** @param change the lock of the container, which is given back at once where it runs */
export async function openRoot(
  services: ContainerServices,
  container: Container,
  change: Disposable,
): Promise<ContainerRoot> {
  const { instance, state, pid, options } = container;
  const { hostID = 0, containerID = 0, size = 0 } = options.userMapping ?? {};
  const ids = {
    toNode: (id: number) =>
      id >= containerID && id < containerID + size ? id - containerID + hostID : id,
    toContainer: (id: number) =>
      id >= hostID && id < hostID + size ? id - hostID + containerID : id,
  };
  if (isLive(state) && pid !== undefined) {
    const spec = await readSpec(services, instance);
    const root = openProcessRoot(pid, spec.linux.cgroupsPath);
    change[Symbol.dispose]();
    return {
      ...ids,
      fd: root.fd,
      requireVisible: () => {},
      [Symbol.asyncDispose]: async () => root[Symbol.dispose](),
    };
  }
  const { rootfs } = bundleOf(services.layout, instance);
  const isEnded = state === 'exited';
  await services.snapshots.mount(instance, rootfs);
  const fd = openSync(rootfs, constants.O_RDONLY | constants.O_DIRECTORY);
  return {
    ...ids,
    fd,
    requireVisible: (path) => requireVisible(container, path),
    [Symbol.asyncDispose]: async () => {
      closeSync(fd);
      if (isEnded) await services.snapshots.unmount(rootfs);
      change[Symbol.dispose]();
    },
  };
}

function requireVisible({ id, settings }: Container, path: string): void {
  const wanted = posix.resolve('/', path);
  const cover = settings.mounts.find(
    ({ target }) => wanted === target || wanted.startsWith(`${target.replace(/\/$/, '')}/`),
  );
  if (cover === undefined) return;
  throw new DrayError(
    'CONFLICT',
    `${cover.target} of container ${id} is mounted only while it runs`,
    {
      hint: `Start it first: dray start ${id}`,
    },
  );
}
