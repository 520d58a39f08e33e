import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../errors.ts';
import { mediaTypes } from '../../image/descriptor.ts';
import { encodeRecord, recordKey } from '../image-record.ts';
import type { ImageRecord, ImageStore } from '../store.ts';
import { ifThere, inFolder } from './errors.ts';
import { ImageFiles, readRecord } from './image-files.ts';
import { type Layout, replaceFile, syncFolder } from './layout.ts';

/** Names of images: one file each, so that writers of different names never meet. */
export function folderImages(layout: Layout): ImageStore {
  const fileOf = (name: string) => path.join(layout.images, recordKey(name));
  const files = new ImageFiles(layout);
  const index = shared(() => writeIndex(layout, files));
  return {
    async list(options = {}) {
      options.signal?.throwIfAborted();
      return await inFolder(layout.root, () => files.list());
    },
    async get(name, options = {}) {
      options.signal?.throwIfAborted();
      return await inFolder(layout.root, () => readRecord(fileOf(name)));
    },
    async put(record, options = {}) {
      options.signal?.throwIfAborted();
      await inFolder(layout.root, async () => {
        await replaceFile(
          fileOf(record.name),
          encodeRecord({ ...record, updatedAt: record.updatedAt ?? new Date() }),
        );
        await index();
      });
    },
    async remove(name, options = {}) {
      options.signal?.throwIfAborted();
      return await inFolder(layout.root, async () => {
        try {
          await rm(fileOf(name));
        } catch (error) {
          if (errnoOf(error) === 'ENOENT') return false;
          throw error;
        }
        await syncFolder(layout.images);
        await index();
        return true;
      });
    },
  };
}

/**
 * Writes index.json from the records until it says what they say. Processes that do so at once need no lock:
 * whoever renamed last has read the records after that, and found them as it wrote them.
 */
export async function writeIndex(
  layout: Layout,
  files: ImageFiles = new ImageFiles(layout),
): Promise<void> {
  let written = await ifThere(readFile(layout.index, 'utf8'));
  for (;;) {
    const wanted = indexOf(await files.list());
    if (wanted === written) return;
    await replaceFile(layout.index, wanted);
    written = wanted;
  }
}

/**
 * An image index (image-spec, image-index.md) that names the manifest whose content is in the store whole, not
 * the index that it was selected from: other tools take everything that index.json leads to for being there.
 */
function indexOf(records: ImageRecord[]): string {
  const manifests = records.map(({ name, manifest }) => ({
    ...manifest,
    annotations: { ...manifest.annotations, 'org.opencontainers.image.ref.name': name },
  }));
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
  return `${JSON.stringify(index, null, 2)}\n`;
}

/**
 * Work that is done once for all who ask for it at about the same time. Each call waits for a run that began after
 * it: one that runs already may not see what the caller did before.
 */
function shared(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  return () => {
    next ??= (async () => {
      await running?.catch(() => {});
      running = next;
      next = undefined;
      await work();
    })();
    return next;
  };
}
