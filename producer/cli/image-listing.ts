import { readVerified } from '../../shared/content/blob.ts';
import type { ImageRecord, Store } from '../../shared/content/store.ts';
import { DrayError } from '../../shared/errors.ts';
import { isImageConfigType, maxConfigBytes, parseImageConfig } from '../../shared/image/config.ts';
import { chainIDs } from '../../shared/image/digest.ts';
import type { Manifest } from '../../shared/image/manifest.ts';
import { findImages, imageUnknown, nameImage, readManifest, storedBytes } from '../image-names.ts';
import type { Context } from './context.ts';
import { formatAge, formatBytes, type ListOptions, printList } from './output.ts';

/** An image as it is listed. */
interface ImageEntry {
  name: string;
  mediaType: string;
  digest: string;
  /** The digest of the manifest that was chosen for the platform. */
  manifest: string;
  /** Bytes that the content store holds of it: index, manifest, config and layers. */
  size?: number;
  /** Bytes that its layers take on this node, when all are there. */
  unpacked?: number;
  updatedAt: Date;
}

/** `dray images ls` */
export async function listImages(context: Context, options: ListOptions): Promise<void> {
  await using store = await context.openStore();
  const records = await store.images.list();
  const snapshots =
    options.quiet === true ? new Map<string, number>() : await snapshotBytes(context);
  const entries = await Promise.all(records.map((record) => imageEntry(record, store, snapshots)));
  const now = new Date();
  printList(
    entries.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    options,
    {
      headings: ['REF', 'TYPE', 'DIGEST', 'SIZE', 'UNPACKED'],
      row: ({ name, mediaType, digest, size, unpacked }) => [
        name,
        mediaType,
        digest,
        size === undefined ? '-' : formatBytes(size),
        unpacked === undefined ? '-' : formatBytes(unpacked),
      ],
      name: ({ name }) => name,
      wide: {
        headings: ['MANIFEST', 'UPDATED'],
        row: ({ manifest, updatedAt }) => [manifest, formatAge(updatedAt, now)],
      },
    },
  );
}

/**
 * `dray images rm`: what is not there is said after the others were removed.
 * @throws USAGE for a digest that has several names
 */
export async function removeImages(context: Context, references: readonly string[]): Promise<void> {
  await using store = await context.openStore();
  const missing: string[] = [];
  for (const text of references) {
    const found = await findImages(store.images, text);
    const names = found.map(({ image }) => image.name);
    const [name = ''] = names;
    if (names.length > 1) {
      throw new DrayError('USAGE', `${text} has ${names.length} names: ${names.join(', ')}`, {
        hint: 'Name those that shall go.',
      });
    }
    if (name !== '' && (await store.images.remove(name))) process.stdout.write(`${name}\n`);
    else missing.push(text);
  }
  if (missing.length > 0) throw imageUnknown(missing.join(', '));
}

/** `dray images tag` */
export async function tagImage(context: Context, reference: string, name: string): Promise<void> {
  await using store = await context.openStore();
  const full = await nameImage(store.images, reference, name);
  process.stdout.write(`${full}\n`);
}

async function imageEntry(
  { name, target, manifest, updatedAt }: ImageRecord,
  store: Store,
  snapshots: ReadonlyMap<string, number>,
): Promise<ImageEntry> {
  const { mediaType, digest } = target;
  const entry = { name, mediaType, digest, manifest: manifest.digest, updatedAt };
  // An image whose manifest was removed or is damaged is listed all the same: somebody has to see it.
  const parsed = await readManifest(manifest, store).catch(() => undefined);
  if (parsed === undefined) return entry;
  const unpacked = await unpackedBytes(parsed, store, snapshots).catch(() => undefined);
  const size = storedBytes({ target, manifest }, parsed);
  return { ...entry, size, ...(unpacked === undefined ? {} : { unpacked }) };
}

async function unpackedBytes(
  manifest: Manifest,
  store: Store,
  snapshots: ReadonlyMap<string, number>,
): Promise<number | undefined> {
  if (snapshots.size === 0 || !isImageConfigType(manifest.config.mediaType)) return undefined;
  const bytes = await readVerified(store.content, manifest.config, { maxBytes: maxConfigBytes });
  const config = parseImageConfig(bytes, manifest, manifest.config.digest);
  const layers = chainIDs(config.rootfs.diff_ids).map((chainID) => snapshots.get(chainID));
  return layers.reduce(
    (sum, size) => (sum === undefined || size === undefined ? undefined : sum + size),
    0,
  );
}

/** Bytes of this node's committed snapshots by chainID; none where no agent runs. */
async function snapshotBytes(context: Context): Promise<Map<string, number>> {
  const agent = await context.agentIfAny();
  const snapshots = (await agent?.listSnapshots().catch(() => [])) ?? [];
  return new Map(
    snapshots.filter(({ kind }) => kind === 'committed').map(({ name, bytes }) => [name, bytes]),
  );
}
