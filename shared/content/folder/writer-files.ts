import { readdir, rm, rmdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import { ifThere } from './errors.ts';
import { digestOfName, type Layout } from './layout.ts';
import { isAlive, parseWriter, type Writer } from './writer.ts';

/** One writer's file of an ingest, as found in the folder. */
export interface WriterFile {
  file: string;
  writer: Writer;
  /** Bytes. */
  length: number;
  touchedAt: Date;
}

/** The blobs that have writers, or had. */
export async function ingestDigests(layout: Layout): Promise<Digest[]> {
  const names = await readdir(layout.ingests);
  return names.flatMap((name) => {
    const [algorithm = '', hex = ''] = name.split('-');
    const digest = digestOfName(algorithm, hex);
    return digest === undefined ? [] : [digest];
  });
}

/** The files of all writers of a blob, longest first. */
export async function writerFiles(layout: Layout, digest: Digest): Promise<WriterFile[]> {
  const folder = layout.ingestFolder(digest);
  const found: WriterFile[] = [];
  for (const name of (await ifThere(readdir(folder))) ?? []) {
    const writer = parseWriter(name);
    const file = path.join(folder, name);
    const stats = writer === undefined ? undefined : await ifThere(stat(file));
    if (writer !== undefined && stats !== undefined) {
      found.push({ file, writer, length: stats.size, touchedAt: stats.mtime });
    }
  }
  return found.sort((a, b) => b.length - a.length);
}

/**
 * Removes what dead writers of a blob left that is at least `olderThanMs` old, and the folder when it is empty.
 * @returns what was removed, or would be with `dryRun`
 */
export async function removeDead(
  layout: Layout,
  digest: Digest,
  { olderThanMs = 0, dryRun = false }: { olderThanMs?: number; dryRun?: boolean } = {},
): Promise<WriterFile[]> {
  const removed: WriterFile[] = [];
  for (const found of await writerFiles(layout, digest)) {
    if (Date.now() - found.touchedAt.getTime() < olderThanMs) continue;
    if (await isAlive(found.writer, found.touchedAt)) continue;
    removed.push(found);
    if (!dryRun) await rm(found.file, { force: true });
  }
  if (!dryRun) await removeFolder(layout.ingestFolder(digest));
  return removed;
}

/** Removes the folder of a blob's writers when there is none any more. */
export async function removeFolder(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== 'ENOTEMPTY' && errno !== 'EEXIST' && errno !== 'ENOENT') throw error;
  }
}
