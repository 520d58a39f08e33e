import { readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Leftover, SweepOptions } from '../store.ts';
import { ifThere } from './errors.ts';
import { digestOfName, type Layout, temporaryPrefix } from './layout.ts';
import { ingestDigests, removeDead } from './writer-files.ts';

/** See ContentStore.sweep. */
export async function sweep(layout: Layout, options: SweepOptions): Promise<Leftover[]> {
  const swept: Leftover[] = [];
  for (const digest of await ingestDigests(layout)) {
    options.signal?.throwIfAborted();
    for (const { length, touchedAt } of await removeDead(layout, digest, options)) {
      swept.push({ kind: 'ingest', name: digest, bytes: length, touchedAt });
    }
  }
  for (const folder of [layout.root, layout.images, layout.desired, layout.access]) {
    const isTemporary = (name: string) => name.startsWith(temporaryPrefix);
    swept.push(...(await sweepFiles(folder, 'file', options, isTemporary)));
  }
  const wrong = await sweepFiles(layout.setAside, 'set aside', options, () => true);
  return [
    ...swept,
    ...wrong.map((file) => {
      const [algorithm = '', hex = ''] = file.name.split('-');
      return { ...file, name: digestOfName(algorithm, hex) ?? file.name };
    }),
  ];
}

async function sweepFiles(
  folder: string,
  kind: Leftover['kind'],
  { olderThanMs, dryRun = false, signal }: SweepOptions,
  isOurs: (name: string) => boolean,
): Promise<Leftover[]> {
  const swept: Leftover[] = [];
  for (const name of (await readdir(folder)).filter(isOurs)) {
    signal?.throwIfAborted();
    const file = path.join(folder, name);
    const stats = await ifThere(stat(file));
    if (stats === undefined || Date.now() - stats.mtimeMs < olderThanMs) continue;
    swept.push({ kind, name, bytes: stats.size, touchedAt: stats.mtime });
    if (!dryRun) await rm(file, { force: true });
  }
  return swept;
}
