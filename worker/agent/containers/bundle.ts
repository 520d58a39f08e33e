import { chownSync, closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { hostname as nodeName } from 'node:os';
import { dirname } from 'node:path';
import type { IDMapping, NetworkMode, RunOptions } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import { readHost } from '../runtime/host.ts';
import { findInit, withInit } from '../runtime/init.ts';
import {
  type NetworkFilesRequest,
  networkFiles,
  writeNetworkFiles,
} from '../runtime/network-files.ts';
import { decodeSpec, encodeSpec, type Spec } from '../runtime/runtime-spec.ts';
import { createSpec } from '../runtime/spec.ts';
import { formatIDMap, idMapLabel } from '../snapshot/mapped-overlay.ts';
import type { Container } from './container.ts';
import type { ContainerImage } from './image.ts';
import { bundleOf, hasOwnIDs } from './layout.ts';
import { isVolumeTaken } from './named-volumes.ts';
import { type ContainerServices, containerLabel } from './services.ts';
import { mountRequests } from './settings.ts';
import { makeVolumes } from './volumes.ts';

/**
 * Makes what a container needs before it can start: its writable snapshot, mounted, and its bundle, but for the files
 * of {@link writeBundle}.
 * When anything fails, what was made is undone in reverse order.
 * @returns the container's command, and the text of its config.json
 */
export async function makeBundle(
  services: ContainerServices,
  container: Pick<Container, 'id' | 'instance' | 'options' | 'settings'>,
  image: ContainerImage,
  options: { signal?: AbortSignal; warn?: (message: string) => void } = {},
): Promise<{ args: string[]; config: string }> {
  const { layout, snapshots } = services;
  const { id, instance } = container;
  const { userMapping } = container.options;
  const { bundle, rootfs, log, volumes } = bundleOf(layout, instance);
  const init = container.options.init === true ? findInit() : undefined;
  const host = readHost(options);
  host.catch(() => {});
  await using undo = new AsyncDisposableStack();
  if (image.chainID !== undefined && snapshots.committed(image.chainID) === undefined) {
    throw new DrayError('NOT_FOUND', `${image.name} is not unpacked on this node`, {
      hint: `Pull it to this node: dray pull ${image.name}`,
    });
  }
  await snapshots.prepare(instance, image.chainID, {
    labels: {
      [containerLabel]: id,
      ...(userMapping === undefined ? {} : { [idMapLabel]: formatIDMap(userMapping) }),
    },
    ...options,
  });
  undo.defer(async () => {
    await snapshots.remove(instance);
  });
  undo.defer(() => rm(bundle, { recursive: true, force: true }));
  mkdirSync(bundle, { mode: 0o700 });
  if (hasOwnIDs(instance)) {
    undo.defer(() => rm(dirname(rootfs), { recursive: true, force: true }));
  }
  makeRootFolder(rootfs, userMapping);
  undo.defer(() => snapshots.unmount(rootfs));
  await snapshots.mount(instance, rootfs, options);

  const { options: asked, settings } = container;
  const { network } = settings;
  const hostname = hostnameOf(id, asked, network);
  const spec = await createSpec({
    imageConfig: image.config,
    options: asked,
    network,
    mounts: await makeVolumes(mountRequests(image.config.config ?? {}, asked), {
      named: layout.volumes,
      own: volumes,
      rootfs,
      userMapping: asked.userMapping,
      isTaken: (name) => isVolumeTaken(services, name),
      ...options,
    }),
    rootfs,
    hostname,
    host: await host,
    cgroupsPath: `${layout.cgroupPrefix}${instance}`,
    networkFiles: networkFiles(networkFilesOf(container, bundle)),
    ...options,
  });
  closeSync(openSync(log, 'a', 0o640));
  options.signal?.throwIfAborted();
  undo.move();
  const config = encodeSpec(init === undefined ? spec : withInit(spec, init));
  return { args: spec.process.args, config };
}

/**
 * Writes the files of a bundle, before each start: nobody waits until they are on the disk, so a power cut may have
 * undone what was written before. They are small, and written at once: that takes microseconds, and each turn through
 * the pool of threads milliseconds on a node that is busy.
 */
export function writeBundle({ layout, rows }: ContainerServices, container: Container): void {
  const { instance } = container;
  const { bundle, config } = bundleOf(layout, instance);
  const spec = rows.spec(instance);
  if (spec !== undefined) writeFileSync(config, spec, { mode: 0o600 });
  writeNetworkFiles(networkFilesOf(container, bundle));
}

/** Where the root is mounted: that of a container with ids of its own lies where a reboot takes it away. */
export function makeRootFolder(rootfs: string, userMapping: IDMapping | undefined): void {
  if (userMapping !== undefined) {
    mkdirSync(dirname(rootfs), { recursive: true, mode: 0o700 });
    chownSync(dirname(rootfs), userMapping.hostID, userMapping.hostID);
  }
  mkdirSync(rootfs, { recursive: true, mode: 0o755 });
}

/** Removes all that {@link makeBundle} made and the container wrote. What is not there is success. */
export async function removeBundle(services: ContainerServices, instance: string): Promise<void> {
  const { layout, snapshots } = services;
  const { bundle, rootfs, exit } = bundleOf(layout, instance);
  await snapshots.unmount(rootfs);
  await snapshots.remove(instance);
  if (hasOwnIDs(instance)) await rm(dirname(rootfs), { recursive: true, force: true });
  await rm(bundle, { recursive: true, force: true });
  await rm(exit, { force: true });
}

/** The container's config.json. */
export async function readSpec(services: ContainerServices, instance: string): Promise<Spec> {
  const { layout, rows } = services;
  return decodeSpec(
    rows.spec(instance) ?? (await readFile(bundleOf(layout, instance).config, 'utf8')),
  );
}

/** What a container's network files are made from, but for its addresses. */
export function networkFilesOf(
  { id, options, settings }: Pick<Container, 'id' | 'options' | 'settings'>,
  bundle: string,
): NetworkFilesRequest {
  const { hosts, dns, dnsSearch } = options;
  return {
    bundle,
    hostname: hostnameOf(id, options, settings.network),
    network: settings.network,
    ...(hosts === undefined ? {} : { hosts }),
    ...(dns === undefined ? {} : { dns }),
    ...(dnsSearch === undefined ? {} : { dnsSearch }),
  };
}

/** As in the field: the node's name in the node's network, the container's id otherwise. */
function hostnameOf(id: string, options: RunOptions, network: NetworkMode): string {
  const name = options.hostname ?? (network === 'host' ? nodeName() : id);
  if (/^[A-Za-z0-9_.-]{1,64}$/.test(name)) return name;
  if (options.hostname === undefined) return name.replaceAll(/[^A-Za-z0-9_.-]/g, '-').slice(0, 64);
  throw new DrayError('CONFIG_INVALID', `"${name.slice(0, 70)}" is not a host name`, {
    hint: 'It has up to 64 letters, digits, "-", "_" and ".".',
  });
}
