import { readVerified } from '../shared/content/blob.ts';
import type { CallOptions, ImageRecord, ImageStore, Store } from '../shared/content/store.ts';
import { DrayError } from '../shared/errors.ts';
import type { Descriptor } from '../shared/image/descriptor.ts';
import { type Digest, isDigest } from '../shared/image/digest.ts';
import { type Manifest, maxManifestBytes, parseManifest } from '../shared/image/manifest.ts';
import { formatReference, parseReference } from '../shared/image/reference.ts';
import { expandDigest, isShortDigest } from './short-digest.ts';

/** An image that is there. */
export interface FoundImage {
  image: ImageRecord;
  /** By which it was asked for: of its index, or of its manifest; undefined for one that was asked for by its name. */
  digest?: Digest;
}

/**
 * An image by its name, else by the digest of its index or manifest, or the beginning of that: under each name that
 * it has.
 * @throws USAGE for the beginning of several digests
 */
export async function findImages(
  images: ImageStore,
  text: string,
  options: CallOptions = {},
): Promise<FoundImage[]> {
  const isWhole = isShortDigest(text) && text.length >= 64;
  const named = isWhole
    ? undefined
    : await images.get(formatReference(parseReference(text)), options);
  if (named !== undefined) return [{ image: named }];
  if (!isShortDigest(text)) return [];
  const all = await images.list(options);
  const digests = all.flatMap(({ target, manifest }) => [target.digest, manifest.digest]);
  const digest = await expandDigest(text, digests);
  return all
    .filter(({ target, manifest }) => target.digest === digest || manifest.digest === digest)
    .map((image) => ({ image, ...(digest === undefined ? {} : { digest }) }));
}

/**
 * What people write for an image, as a whole digest or a reference in full. The beginning of a digest is looked up
 * among the images that are there.
 * @throws USAGE, REFERENCE_INVALID
 */
export async function imageArgument(
  text: string,
  options: { openStore: () => Promise<Store> },
): Promise<string> {
  if (isDigest(text)) return text;
  if (isShortDigest(text)) {
    await using store = await options.openStore();
    const [found] = await findImages(store.images, text);
    if (found?.digest !== undefined) return found.digest;
  }
  return formatReference(parseReference(text));
}

/**
 * Gives an image one more name; a name that is there already is moved.
 * @returns the name in full
 * @throws NOT_FOUND, USAGE for a name with a digest
 */
export async function nameImage(
  images: ImageStore,
  reference: string,
  name: string,
  options: CallOptions = {},
): Promise<string> {
  const [{ image: found } = {}] = await findImages(images, reference, options);
  if (found === undefined) throw imageUnknown(reference);
  const { target, manifest } = found;
  const parsed = parseReference(name);
  if (parsed.digest !== undefined) {
    throw new DrayError('USAGE', `${name} has a digest: a digest is not given, it is`, {
      hint: 'Name a tag, as in registry.local/redis:blessed.',
    });
  }
  const full = formatReference(parsed);
  const { registry, repository } = parseReference(found.name);
  const origin = found.origin ?? `${registry}/${repository}`;
  await images.put({ name: full, target, manifest, origin }, options);
  return full;
}

export function imageUnknown(name: string): DrayError {
  return new DrayError('NOT_FOUND', `The content store has no image ${name}`, {
    hint: 'dray images lists those that it has.',
  });
}

/** An image's manifest, verified. @throws NOT_FOUND, MANIFEST_INVALID and as the store */
export async function readManifest(
  descriptor: Descriptor,
  store: Pick<Store, 'content'>,
  options: CallOptions = {},
): Promise<Manifest> {
  const limits = { ...options, maxBytes: maxManifestBytes };
  const bytes = await readVerified(store.content, descriptor, limits);
  return parseManifest(bytes, descriptor.mediaType, descriptor.digest);
}

/** Bytes that the store holds of an image: what is listed twice is stored once. */
export function storedBytes(
  { target, manifest }: Pick<ImageRecord, 'target' | 'manifest'>,
  { config, layers }: Manifest,
): number {
  const blobs = [target, manifest, config, ...layers];
  const sizes = new Map(blobs.map(({ digest, size }) => [digest, size]));
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}
