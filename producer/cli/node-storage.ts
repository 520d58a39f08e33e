import path from 'node:path';
import type { SnapshotStatus } from '../../shared/agent/containers.ts';
import { DrayError } from '../../shared/errors.ts';
import { type Digest, isDigest } from '../../shared/image/digest.ts';
import { findImages, imageArgument, imageUnknown } from '../image-names.ts';
import { expandDigest, isShortDigest } from '../short-digest.ts';
import type { Context } from './context.ts';
import { formatAge, formatBytes, type ListOptions, printList } from './output.ts';
import { unpackStored } from './unpack-stored.ts';

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

/** `dray snapshots rm`. A key is itself, whatever chainIDs there are. @throws NOT_FOUND, CONFLICT, USAGE */
export async function removeSnapshots(context: Context, names: readonly string[]): Promise<void> {
  const agent = await context.agent();
  for (const name of names) {
    const there = isShortDigest(name) ? await agent.listSnapshots() : [];
    const isKey = there.some((snapshot) => snapshot.name === name);
    const found =
      isKey || !isShortDigest(name) ? name : await expandDigest(name, chainIDsOf(there));
    await agent.removeSnapshot(found ?? name);
    process.stdout.write(`${found ?? name}\n`);
  }
}

function chainIDsOf(snapshots: readonly SnapshotStatus[]): Digest[] {
  return snapshots.flatMap(({ name }) => (isDigest(name) ? [name] : []));
}

/** `dray snapshots prepare`: prints mount commands that a shell can run. */
export async function prepareSnapshot(
  context: Context,
  key: string,
  image: string,
  options: { target: string },
): Promise<void> {
  const agent = await context.agent();
  const name = await imageArgument(image, context);
  const { mounts } = await agent.prepareSnapshot({ key, image: name });
  for (const { type, source, options: flags } of mounts) {
    const words = ['mount', '-t', type, '-o', flags.join(','), source, options.target];
    process.stdout.write(`${words.map(quoted).join(' ')}\n`);
  }
}

/** `dray unpack` @throws NOT_FOUND */
export async function unpackImage(context: Context, text: string): Promise<void> {
  const digest = await digestOfImage(context, text);
  const chainID = await unpackStored(context, digest);
  // An image without layers has none.
  if (chainID !== undefined) process.stdout.write(`${chainID}\n`);
}

/** What is whole need not have a name. */
async function digestOfImage(context: Context, text: string): Promise<Digest> {
  if (isDigest(text)) return text;
  await using store = await context.openStore();
  const [found] = await findImages(store.images, text);
  if (found === undefined) throw imageUnknown(text);
  return found.digest ?? found.image.target.digest;
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
