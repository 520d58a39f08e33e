import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { VolumeStatus } from '../../../shared/agent/containers.ts';
import { DrayError, errnoOf } from '../../../shared/errors.ts';
import type { Container } from './container.ts';
import type { ContainerServices } from './services.ts';
import { checkVolumeName } from './volumes.ts';

type VolumeServices = Pick<ContainerServices, 'layout' | 'rows'>;

/** The volumes with a name, by their names. */
export async function listVolumes(services: VolumeServices): Promise<VolumeStatus[]> {
  const { volumes: folder } = services.layout;
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).toSorted();
  const found = await Promise.all(
    names.map(async (name): Promise<VolumeStatus[]> => {
      const path = join(folder, name);
      try {
        const { birthtime } = await stat(path);
        const usedBy = usersOf(services, name);
        return [{ name, path, createdAt: birthtime.toISOString(), usedBy }];
      } catch (error) {
        // Removed meanwhile.
        if (errnoOf(error) === 'ENOENT') return [];
        throw error;
      }
    }),
  );
  return found.flat();
}

/**
 * Makes an empty volume, which begins with what the image of the first container that has it has at its place. One that
 * is there is success.
 * @throws CONFIG_INVALID for what is no name of one
 */
export async function createVolume(services: VolumeServices, name: string): Promise<VolumeStatus> {
  const { volumes: folder } = services.layout;
  const path = join(folder, checkVolumeName(name));
  await mkdir(path, { mode: 0o755 }).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw error;
  });
  const { birthtime } = await stat(path);
  return { name, path, createdAt: birthtime.toISOString(), usedBy: usersOf(services, name) };
}

/**
 * Removes a volume and all that is in it.
 * @throws NOT_FOUND; CONFLICT when a container has it, whether it runs or not
 */
export async function removeVolume(services: VolumeServices, name: string): Promise<void> {
  const { volumes: folder } = services.layout;
  const there = (await readdir(folder)).includes(name) && !name.startsWith('.');
  if (!there) {
    throw new DrayError('NOT_FOUND', `There is no volume ${name.slice(0, 140)} on this node`, {
      hint: 'dray volume ls shows those that there are.',
    });
  }
  // Nothing is awaited from here to the renaming: a container that comes meanwhile makes a new one.
  const users = usersOf(services, name);
  if (users.length > 0) {
    throw new DrayError('CONFLICT', `Volume ${name} belongs to container ${users.join(', ')}`, {
      hint: `Remove what uses it first: dray rm ${users.join(' ')}`,
    });
  }
  const gone = join(folder, `.gone-${randomBytes(6).toString('hex')}`);
  try {
    renameSync(join(folder, name), gone);
  } catch (error) {
    // Somebody else was faster.
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  await rm(gone, { recursive: true, force: true });
}

/** Removes what an agent that died was filling or removing: such names have a dot in front. */
export async function sweepVolumes({ layout }: Pick<VolumeServices, 'layout'>): Promise<void> {
  for (const name of await readdir(layout.volumes)) {
    if (!name.startsWith('.')) continue;
    await rm(join(layout.volumes, name), { recursive: true, force: true });
  }
}

/** Whether a container that is made has a volume, so that it may be mounted. */
export function isVolumeTaken({ rows }: Pick<VolumeServices, 'rows'>, name: string): boolean {
  return rows.list().some((row) => row.state !== 'creating' && hasVolume(row, name));
}

/** The ids of the containers that have a volume. */
function usersOf({ rows }: VolumeServices, name: string): string[] {
  return rows
    .list()
    .filter((row) => hasVolume(row, name))
    .map(({ id }) => id);
}

function hasVolume({ settings }: Container, name: string): boolean {
  return settings.mounts.some(({ type, source }) => type === 'volume' && source === name);
}
