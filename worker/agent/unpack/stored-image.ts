import { readVerified } from '../../../shared/content/blob.ts';
import type { ContentStore } from '../../../shared/content/store.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import type { Digest } from '../../../shared/image/digest.ts';
import {
  type ImageConfig,
  isImageConfigType,
  type Manifest,
  maxConfigBytes,
  maxManifestBytes,
  parseImageConfig,
  parseIndexOrManifest,
  parseManifest,
  selectPlatform,
  sniffMediaType,
} from '../../../shared/image/manifest.ts';
import { hostPlatform } from '../../../shared/image/platform.ts';

interface CallOptions {
  signal?: AbortSignal;
}

/**
 * The manifest and configuration of an image, from the store and verified.
 * The configuration of an artifact, which is no image and is not unpacked, is undefined.
 */
export async function readImage(
  content: ContentStore,
  descriptor: Descriptor,
  options: CallOptions = {},
): Promise<{ manifest: Manifest; config: ImageConfig | undefined }> {
  const bytes = await readVerified(content, descriptor, { maxBytes: maxManifestBytes, ...options });
  const manifest = parseManifest(bytes, descriptor.mediaType, descriptor.digest);
  if (!isImageConfigType(manifest.config.mediaType)) return { manifest, config: undefined };
  const limits = { maxBytes: maxConfigBytes, ...options };
  const configBytes = await readVerified(content, manifest.config, limits);
  return { manifest, config: parseImageConfig(configBytes, manifest, descriptor.digest) };
}

/**
 * The descriptor of a manifest in the store of which only the digest is known; of an index, that of the
 * manifest for this machine's platform.
 * @throws NOT_FOUND, MANIFEST_INVALID, PLATFORM_UNKNOWN
 */
export async function findManifest(
  content: ContentStore,
  digest: Digest,
  options: CallOptions = {},
): Promise<Descriptor> {
  const info = await content.info(digest, options);
  if (info === undefined) {
    throw new DrayError('NOT_FOUND', `The content store has no ${digest}`, {
      hint: 'Fetch it first: dray fetch REF',
    });
  }
  const unnamed = { digest, size: info.size, mediaType: 'application/octet-stream' };
  const bytes = await readVerified(content, unnamed, { maxBytes: maxManifestBytes, ...options });
  const descriptor = { ...unnamed, mediaType: sniffMediaType(bytes, digest) };
  const parsed = parseIndexOrManifest(bytes, descriptor.mediaType, digest);
  return 'index' in parsed ? selectPlatform(parsed.index, hostPlatform(), digest) : descriptor;
}
