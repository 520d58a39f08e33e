import { readVerified } from '../shared/content/blob.ts';
import type { CallOptions, ImageRecord, ImageStore, Store } from '../shared/content/store.ts';
import { DrayError } from '../shared/errors.ts';
import type { Descriptor } from '../shared/image/descriptor.ts';
import { isDigest } from '../shared/image/digest.ts';
import { type Manifest, maxManifestBytes, parseManifest } from '../shared/image/manifest.ts';
import { formatReference, parseReference } from '../shared/image/reference.ts';

/** By its name, or by the digest of its index or manifest, which may have been given any name. @throws NOT_FOUND */
export async function findImage(
  images: ImageStore,
  reference: string,
  options: CallOptions = {},
): Promise<ImageRecord> {
  if (isDigest(reference)) {
    const found = (await images.list(options)).find(
      ({ target, manifest }) => target.digest === reference || manifest.digest === reference,
    );
    if (found === undefined) throw imageUnknown(reference);
    return found;
  }
  const name = formatReference(parseReference(reference));
  const record = await images.get(name, options);
  if (record === undefined) throw imageUnknown(name);
  return record;
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
  const found = await findImage(images, reference, options);
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
