import { execFile } from 'node:child_process';
import { existsSync, renameSync } from 'node:fs';
import { chown, lstat, mkdir, mkdtemp, opendir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type {
  IDMapping,
  MountRequest,
  VolumeMountRequest,
} from '../../../shared/agent/run-options.ts';
import { DrayError, errnoOf } from '../../../shared/errors.ts';
import { systemPath } from '../linux/spawn.ts';
import { syncfs } from '../linux/sync.ts';
import type { PlainMountRequest } from '../runtime/mounts.ts';
import { resolveInRoot } from '../runtime/rooted.ts';

const run = promisify(execFile);
const nameForm = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

export interface VolumeRequest {
  /** The folder of volumes with a name, which outlive containers. */
  named: string;
  /** The folder of this container's own, which go with it. */
  own: string;
  /** The mounted root file system of the image, on which nothing runs. */
  rootfs: string;
  /** Whose ids the container has; volumes are its root's. */
  userMapping: IDMapping | undefined;
  /** Whether a container may have a volume mounted: one that is empty and nobody's is filled, as a new one is. */
  isTaken: (name: string) => boolean;
  signal?: AbortSignal;
}

/**
 * Makes the volumes among a container's mounts: folders of the node, which begin with what the image has at
 * their place, and with its owner and mode.
 * @returns the mounts with folders for volumes
 * @throws CONFIG_INVALID
 */
export async function makeVolumes(
  mounts: readonly MountRequest[],
  request: VolumeRequest,
): Promise<PlainMountRequest[]> {
  const plain: PlainMountRequest[] = [];
  for (const [index, mount] of mounts.entries()) {
    request.signal?.throwIfAborted();
    if (mount.type !== 'volume') {
      plain.push(mount);
      continue;
    }
    const { target, readonly } = mount;
    plain.push({
      type: 'bind',
      source: await makeVolume(mount, mount.source ?? String(index), request),
      target,
      ...(readonly === undefined ? {} : { readonly }),
    });
  }
  return plain;
}

async function makeVolume(
  { source, target }: VolumeMountRequest,
  name: string,
  request: VolumeRequest,
): Promise<string> {
  const folder = source === undefined ? request.own : request.named;
  const place = join(folder, checkVolumeName(name));
  await mkdir(folder, { recursive: true, mode: 0o711 });
  const isKept = () => existsSync(place) && (source === undefined || request.isTaken(source));
  if (isKept() || (await hasContent(place))) return place;
  // Whole or not there: nobody mounts one that is being filled. A name has no dot in front.
  const making = await mkdtemp(join(folder, '.new-'));
  try {
    const content = join(making, 'content');
    await fill(content, target, request);
    // The container's row, which leads to it, outlives a power cut.
    if (await hasContent(content)) await syncfs(content);
    // Nothing is awaited in between: whoever has it mounted keeps what it has.
    if (!isKept()) renameSync(content, place);
    return place;
  } catch (error) {
    // Another container filled the same meanwhile.
    if (errnoOf(error) === 'ENOTEMPTY' || errnoOf(error) === 'EEXIST') return place;
    throw error;
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

/** Copies what the image has at a path, which never leads out of its root. */
async function fill(content: string, target: string, request: VolumeRequest): Promise<void> {
  const { rootfs, userMapping } = request;
  const inside = join(rootfs, await resolveInRoot(rootfs, target));
  const found = await lstat(inside).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  });
  if (found === undefined) {
    await mkdir(content, { mode: 0o755 });
    if (userMapping !== undefined) await chown(content, userMapping.hostID, userMapping.hostID);
    return;
  }
  if (!found.isDirectory()) {
    throw new DrayError('CONFIG_INVALID', `The image has no folder at ${target} for a volume`, {
      hint: 'Mount a file of the node there instead, or choose another path.',
    });
  }
  // Links are copied as links, devices and FIFOs as such: nothing is followed or opened for its content.
  await run('cp', ['--archive', '--no-target-directory', '--', inside, content], {
    env: { PATH: systemPath },
    ...(request.signal === undefined ? {} : { signal: request.signal }),
  });
}

/** @throws CONFIG_INVALID */
export function checkVolumeName(name: string): string {
  if (nameForm.test(name)) return name;
  throw new DrayError('CONFIG_INVALID', `"${name.slice(0, 140)}" is not the name of a volume`, {
    hint: 'A name has letters, digits, "_", "." and "-". A folder of the node starts with /.',
  });
}

async function hasContent(folder: string): Promise<boolean> {
  try {
    await using open = await opendir(folder);
    return (await open.read()) !== null;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
