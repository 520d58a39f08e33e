import type { CallOptions, ImageRecord, Store } from '../../../shared/content/store.ts';
import { artifactError, imagesUnder, readImage } from '../../../shared/content/stored-image.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { ImageConfig } from '../../../shared/image/config.ts';
import { type Descriptor, isIndexType } from '../../../shared/image/descriptor.ts';
import { type ChainID, chainIDs, type Digest, isDigest } from '../../../shared/image/digest.ts';

/** What a container is made from. */
export interface ContainerImage {
  name: string;
  manifest: Digest;
  config: ImageConfig;
  /** The snapshot that its root file system stands on; undefined for an image without layers. */
  chainID: ChainID | undefined;
}

/** Finds images by their full names, or by the digest of an index or manifest. @throws IMAGE_UNKNOWN, MANIFEST_UNSUPPORTED */
export interface ImageSource {
  find(nameOrDigest: string, options?: CallOptions): Promise<ContainerImage>;
}

/** Images whose config is remembered: what a digest names never changes. */
const remembered = 64;

/**
 * The images of a content store. Manifest and config are verified as they are read.
 * @param isHeld whether the image of a manifest was brought to this node: of an index, that one is meant
 */
export function imagesOf(
  store: Pick<Store, 'images' | 'content'>,
  isHeld: (manifest: Digest) => boolean,
): ImageSource {
  const known = new Map<Digest, Pick<ContainerImage, 'config' | 'chainID'>>();
  return {
    find: async (nameOrDigest, options = {}) => {
      const image = await findImage(store, isHeld, nameOrDigest, options);
      const { digest } = image.descriptor;
      const found = known.get(digest) ?? (await read(store, image, options));
      known.delete(digest);
      known.set(digest, found);
      const [oldest] = known.keys();
      if (known.size > remembered && oldest !== undefined) known.delete(oldest);
      return { name: image.name, manifest: digest, ...found };
    },
  };
}

async function read(
  { content }: Pick<Store, 'content'>,
  { name, descriptor }: Found,
  options: CallOptions,
): Promise<Pick<ContainerImage, 'config' | 'chainID'>> {
  const { config } = await readImage(content, descriptor, { ...options, name });
  if (config === undefined) throw artifactError(name);
  return { config, chainID: chainIDs(config.rootfs.diff_ids).at(-1) };
}

/** The images of an index, as far as the store has it. */
async function othersOf(
  { content }: Pick<Store, 'content'>,
  index: Descriptor,
  options: CallOptions,
): Promise<Descriptor[]> {
  try {
    return await imagesUnder(content, index, options);
  } catch (error) {
    if (error instanceof DrayError && error.code === 'BLOB_UNKNOWN') return [];
    throw error;
  }
}

interface Found {
  name: string;
  /** Of its manifest. */
  descriptor: Descriptor;
}

async function findImage(
  store: Pick<Store, 'images' | 'content'>,
  isHeld: (manifest: Digest) => boolean,
  nameOrDigest: string,
  options: CallOptions,
): Promise<Found> {
  const own = async ({ name, target, manifest }: ImageRecord): Promise<Found> => {
    if (!isIndexType(target.mediaType) || isHeld(manifest.digest)) {
      return { name, descriptor: manifest };
    }
    const others = await othersOf(store, target, options);
    return { name, descriptor: others.find(({ digest }) => isHeld(digest)) ?? manifest };
  };
  const named = await store.images.get(nameOrDigest, options);
  if (named !== undefined) return await own(named);
  const records = await store.images.list(options);
  const whole = records.find(({ target }) => target.digest === nameOrDigest);
  if (whole !== undefined) return await own(whole);
  const exact = records.find(({ manifest }) => manifest.digest === nameOrDigest);
  if (exact !== undefined) return { name: exact.name, descriptor: exact.manifest };
  const held = isDigest(nameOrDigest) && isHeld(nameOrDigest) ? records : [];
  for (const { name, target } of held) {
    if (!isIndexType(target.mediaType)) continue;
    const others = await othersOf(store, target, options);
    const descriptor = others.find(({ digest }) => digest === nameOrDigest);
    if (descriptor !== undefined) return { name, descriptor };
  }
  throw new DrayError('IMAGE_UNKNOWN', `There is no image ${nameOrDigest.slice(0, 300)}`, {
    hint: isDigest(nameOrDigest)
      ? 'Pull it by its name first: dray pull host/repository@sha256:…'
      : `Pull it first: dray pull ${nameOrDigest.slice(0, 300)}`,
  });
}
