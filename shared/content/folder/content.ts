import { readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Digest } from '../../image/digest.ts';
import { syncFolder } from '../../sync-folder.ts';
import type { CallOptions, ContentInfo, ContentStore, IngestInfo } from '../store.ts';
import { ifThere, inFolder } from './errors.ts';
import { followFile, followInFolder } from './follow.ts';
import { openFolderIngest } from './ingest.ts';
import { algorithms, digestOfName, type Layout } from './layout.ts';
import { readBlob } from './read.ts';
import { sweep } from './sweep.ts';
import { verify } from './verify.ts';
import { ingestDigests, writerFiles } from './writer-files.ts';

/** Blobs as files of an OCI image layout. */
export function folderContent(layout: Layout): ContentStore {
  const safely = <T>(options: CallOptions | undefined, work: () => Promise<T>) => {
    return inFolder(layout.root, async () => {
      options?.signal?.throwIfAborted();
      return await work();
    });
  };
  return {
    info: (digest, options) => safely(options, () => blobInfo(layout, digest)),
    read: (digest, options) => readBlob(layout, digest, options),
    ingest: (descriptor, options = {}) => openFolderIngest(layout, descriptor, options),
    follow: (descriptor, options = {}) => followInFolder(layout, descriptor, options),
    followFile: (descriptor, options = {}) => followFile(layout, descriptor, options),
    list: (options = {}) => listBlobs(layout, options),
    ingests: (options = {}) => listIngests(layout, options),
    pathOf: (digest) => layout.blob(digest),
    remove: (digest, options) =>
      safely(options, async () => {
        const file = layout.blob(digest);
        await rm(file, { force: true });
        await syncFolder(path.dirname(file));
      }),
    verify: (digest, options = {}) => safely(options, () => verify(layout, digest, options)),
    sweep: (options) => safely(options, () => sweep(layout, options)),
  };
}

async function blobInfo(layout: Layout, digest: Digest): Promise<ContentInfo | undefined> {
  const stats = await ifThere(stat(layout.blob(digest)));
  if (stats === undefined || !stats.isFile()) return undefined;
  return { digest, size: stats.size, createdAt: stats.mtime };
}

async function* listBlobs(layout: Layout, { signal }: CallOptions): AsyncIterable<ContentInfo> {
  for (const algorithm of algorithms) {
    const folder = layout.blobFolder(algorithm);
    for (const name of await inFolder(layout.root, () => readdir(folder))) {
      signal?.throwIfAborted();
      const digest = digestOfName(algorithm, name);
      if (digest === undefined) continue;
      const info = await inFolder(layout.root, () => blobInfo(layout, digest));
      if (info !== undefined) yield info;
    }
  }
}

async function* listIngests(layout: Layout, { signal }: CallOptions): AsyncIterable<IngestInfo> {
  for (const digest of await ingestDigests(layout)) {
    signal?.throwIfAborted();
    for (const found of await inFolder(layout.root, () => writerFiles(layout, digest))) {
      const { length, touchedAt, writer } = found;
      yield { digest, offset: length, size: writer.size, updatedAt: touchedAt };
    }
  }
}
