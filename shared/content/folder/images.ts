import { readFile } from 'node:fs/promises';
import { mediaTypes } from '../../image/descriptor.ts';
import { imageForm } from '../image-record.ts';
import type { ImageRecord, ImageStore } from '../store.ts';
import { ifThere, inFolder } from './errors.ts';
import { type Layout, replaceFile } from './layout.ts';
import { FolderRecords } from './records.ts';

/** Names of images. Whoever changes one brings index.json in line with it. */
export function folderImages(layout: Layout): ImageStore {
  const records = imageRecords(layout);
  const index = shared(() => writeIndex(layout, records));
  return {
    list: (options) => records.list(options),
    get: (name, options) => records.get(name, options),
    async put(record, options) {
      await records.put({ ...record, updatedAt: record.updatedAt ?? new Date() }, options);
      await inFolder(layout.root, index);
    },
    async remove(name, options) {
      if (!(await records.remove(name, options))) return false;
      await inFolder(layout.root, index);
      return true;
    },
  };
}

function imageRecords(layout: Layout): FolderRecords<ImageRecord> {
  return new FolderRecords(layout, layout.images, imageForm);
}

/**
 * Writes index.json from the records until it says what they say. Processes that do so at once need no lock:
 * whoever renamed last has read the records after that, and found them as it wrote them.
 */
export async function writeIndex(layout: Layout, records = imageRecords(layout)): Promise<void> {
  let written = await ifThere(readFile(layout.index, 'utf8'));
  for (;;) {
    const wanted = indexOf(await records.list());
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
