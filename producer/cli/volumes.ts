import type { VolumeStatus } from '../../shared/agent/containers.ts';
import { DrayError } from '../../shared/errors.ts';
import type { AgentClient } from '../agent/client.ts';
import { type Columns, formatAge, type ListOptions, printList } from './output.ts';

/** `dray volume ls`. */
export async function listVolumes(client: AgentClient, options: ListOptions): Promise<void> {
  const now = new Date();
  const columns: Columns<VolumeStatus> = {
    headings: ['VOLUME', 'CREATED', 'USED BY'],
    row: ({ name, createdAt, usedBy }) => [
      name,
      formatAge(new Date(createdAt), now),
      usedBy.length === 0 ? '-' : usedBy.join(', '),
    ],
    name: ({ name }) => name,
    wide: { headings: ['FOLDER'], row: ({ path }) => [path] },
    elastic: 'USED BY',
  };
  printList(await client.listVolumes(), options, columns);
}

/** `dray volume inspect`. @throws NOT_FOUND */
export async function inspectVolumes(client: AgentClient, names: readonly string[]): Promise<void> {
  const there = await client.listVolumes();
  const found = names.map((wanted) => {
    const volume = there.find(({ name }) => name === wanted);
    if (volume !== undefined) return volume;
    throw new DrayError('NOT_FOUND', `There is no volume ${wanted.slice(0, 140)} on this node`, {
      hint: 'dray volume ls shows those that there are.',
    });
  });
  process.stdout.write(`${JSON.stringify(found, undefined, 2)}\n`);
}

/** `dray volume prune`: prints the names of what goes, or would. */
export async function pruneVolumes(
  client: AgentClient,
  { force }: { force: boolean },
): Promise<void> {
  const unused = (await client.listVolumes()).filter(({ usedBy }) => usedBy.length === 0);
  for (const { name } of unused) {
    if (force) {
      // A container that came meanwhile keeps it.
      const isRemoved = await client.removeVolume(name).then(
        () => true,
        (error: unknown) => {
          const isOthers =
            error instanceof DrayError && ['CONFLICT', 'NOT_FOUND'].includes(error.code);
          if (!isOthers) throw error;
          return false;
        },
      );
      if (!isRemoved) continue;
    }
    process.stdout.write(`${name}\n`);
  }
  if (!force && unused.length > 0) {
    process.stderr.write('Nothing was removed. To remove these: dray volume prune --force\n');
  }
}
