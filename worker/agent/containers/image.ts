import type { CallOptions, ImageRecord, Store } from '../../../shared/content/store.ts';
import { readBlob } from '../../../shared/content/stored-image.ts';
import { DrayError } from '../../../shared/errors.ts';
import { type ChainID, chainIDs, type Digest, isDigest } from '../../../shared/image/digest.ts';
import {
  type ImageConfig,
  maxConfigBytes,
  maxManifestBytes,
  parseImageConfig,
  parseManifest,
} from '../../../shared/image/manifest.ts';

/** What a container is made from. */
export interface ContainerImage {
  name: string;
  manifest: Digest;
  config: ImageConfig;
  /** The snapshot that its root file system stands on; undefined for an image without layers. */
  chainID: ChainID | undefined;
}

/** Finds images by their full names, or by the digest of an index or manifest. @throws IMAGE_UNKNOWN */
export interface ImageSource {
  find(nameOrDigest: string, options?: CallOptions): Promise<ContainerImage>;
}

/** The images of a content store. Manifest and config are verified as they are read. */
export function imagesOf(store: Pick<Store, 'images' | 'content'>): ImageSource {
  return {
    find: async (nameOrDigest, options = {}) => {
      const record = await findRecord(store, nameOrDigest, options);
      const source = record.name;
      const manifestBytes = await readBlob(store.content, record.manifest, {
        maxBytes: maxManifestBytes,
        ...options,
      });
      const manifest = parseManifest(manifestBytes, record.manifest.mediaType, source);
      const configBytes = await readBlob(store.content, manifest.config, {
        maxBytes: maxConfigBytes,
        ...options,
      });
      const config = parseImageConfig(configBytes, manifest, source);
      const chainID = chainIDs(config.rootfs.diff_ids).at(-1);
      return { name: record.name, manifest: record.manifest.digest, config, chainID };
    },
  };
}

async function findRecord(
  store: Pick<Store, 'images'>,
  nameOrDigest: string,
  options: CallOptions,
): Promise<ImageRecord> {
  const named = await store.images.get(nameOrDigest, options);
  if (named !== undefined) return named;
  const found = (await store.images.list(options)).find(
    ({ target, manifest }) => target.digest === nameOrDigest || manifest.digest === nameOrDigest,
  );
  if (found !== undefined) return found;
  throw new DrayError('IMAGE_UNKNOWN', `There is no image ${nameOrDigest.slice(0, 300)}`, {
    hint: isDigest(nameOrDigest)
      ? 'Pull it by its name first: dray pull host/repository@sha256:…'
      : `Pull it first: dray pull ${nameOrDigest.slice(0, 300)}`,
  });
}
