import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { VolumeStatus } from '../../../shared/agent/containers.ts';
import { DrayError, errnoOf } from '../../../shared/errors.ts';
import type { ContainerServices } from './services.ts';

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

/** The ids of the containers that have a volume. */
function usersOf({ rows }: VolumeServices, name: string): string[] {
  return rows
    .list()
    .filter(({ settings }) =>
      settings.mounts.some(({ type, source }) => type === 'volume' && source === name),
    )
    .map(({ id }) => id);
}
