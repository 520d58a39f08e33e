import { readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../errors.ts';
import { mediaTypes } from '../../image/descriptor.ts';
import { decodeRecord, encodeRecord, recordKey } from '../image-record.ts';
import type { ImageRecord, ImageStore } from '../store.ts';
import { ifThere, inFolder } from './errors.ts';
import { type Layout, replaceFile, syncFolder, temporaryPrefix } from './layout.ts';

/** Names of images: one file each, so that writers of different names never meet. */
export function folderImages(layout: Layout): ImageStore {
  const fileOf = (name: string) => path.join(layout.images, recordKey(name));
  return {
    async list(options = {}) {
      options.signal?.throwIfAborted();
      return await inFolder(layout.root, () => listRecords(layout));
    },
    async get(name, options = {}) {
      options.signal?.throwIfAborted();
      return await inFolder(layout.root, () => readRecord(fileOf(name)));
    },
    async put(record, options = {}) {
      options.signal?.throwIfAborted();
      await inFolder(layout.root, async () => {
        await replaceFile(fileOf(record.name), encodeRecord({ ...record, updatedAt: new Date() }));
        await writeIndex(layout);
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
        await writeIndex(layout);
        return true;
      });
    },
  };
}

async function readRecord(file: string): Promise<ImageRecord | undefined> {
  const text = await ifThere(readFile(file, 'utf8'));
  return text === undefined ? undefined : decodeRecord(text, file);
}

async function listRecords(layout: Layout): Promise<ImageRecord[]> {
  const records: ImageRecord[] = [];
  for (const name of await readdir(layout.images)) {
    if (name.startsWith(temporaryPrefix)) continue;
    const record = await readRecord(path.join(layout.images, name));
    if (record !== undefined) records.push(record);
  }
  return records.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Writes index.json from the records until it says what they say. Processes that do so at once need no lock:
 * whoever renamed last has read the records after that, and found them as it wrote them.
 */
export async function writeIndex(layout: Layout): Promise<void> {
  let written = await ifThere(readFile(layout.index, 'utf8'));
  for (;;) {
    const wanted = indexOf(await listRecords(layout));
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
