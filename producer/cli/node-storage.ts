import path from 'node:path';
import { DrayError } from '../../shared/errors.ts';
import { isDigest } from '../../shared/image/digest.ts';
import { formatReference, parseReference } from '../../shared/image/reference.ts';
import type { Context } from './context.ts';
import { formatAge, formatBytes, type ListOptions, printList } from './output.ts';

/** `dray snapshots ls` */
export async function listSnapshots(context: Context, options: ListOptions): Promise<void> {
  const snapshots = await (await context.agent()).listSnapshots();
  const now = new Date();
  printList(snapshots, options, {
    headings: ['NAME', 'KIND', 'PARENT', 'SIZE', 'ENTRIES', 'CREATED'],
    row: ({ name, kind, parent, bytes, entries, createdAt }) => [
      name,
      kind,
      parent ?? '-',
      kind === 'committed' ? formatBytes(bytes) : '-',
      kind === 'committed' ? String(entries) : '-',
      formatAge(new Date(createdAt), now),
    ],
    name: ({ name }) => name,
  });
}

/** `dray snapshots prepare`: prints mount commands that a shell can run. */
export async function prepareSnapshot(
  context: Context,
  key: string,
  image: string,
  options: { target: string },
): Promise<void> {
  const agent = await context.agent();
  const name = isDigest(image) ? image : formatReference(parseReference(image));
  const { mounts } = await agent.prepareSnapshot({ key, image: name });
  for (const { type, source, options: flags } of mounts) {
    const words = ['mount', '-t', type, '-o', flags.join(','), source, options.target];
    process.stdout.write(`${words.map(quoted).join(' ')}\n`);
  }
}

/** `dray apply` */
export async function applyInput(context: Context, folder: string): Promise<void> {
  if (process.stdin.isTTY) {
    throw new DrayError(
      'USAGE',
      'The layer is read from standard input, which is a terminal here',
      {
        hint: 'dray content get DIGEST | dray apply FOLDER',
      },
    );
  }
  const agent = await context.agent();
  const { diffID } = await agent.apply(process.stdin, path.resolve(folder));
  process.stdout.write(`${diffID}\n`);
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
