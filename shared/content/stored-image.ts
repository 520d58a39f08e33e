import { DrayError } from '../errors.ts';
import {
  type ImageConfig,
  isImageConfigType,
  maxConfigBytes,
  parseImageConfig,
} from '../image/config.ts';
import { type Descriptor, isIndexType } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import {
  imageManifests,
  type Manifest,
  maxManifestBytes,
  parseIndexOrManifest,
  parseManifest,
  selectPlatform,
  sniffMediaType,
} from '../image/manifest.ts';
import { hostPlatform } from '../image/platform.ts';
import { readVerified } from './blob.ts';
import type { ContentStore } from './store.ts';
import { readStored } from './stored.ts';

interface CallOptions {
  signal?: AbortSignal;
}

/**
 * The manifest and configuration of an image, from the store and verified.
 * The configuration of an artifact, which is no image and is not unpacked, is undefined.
 * @param options.name what it is called in errors; default: its digest
 * @throws BLOB_UNKNOWN with `context.digest`, and what the parsers throw
 */
export async function readImage(
  content: Pick<ContentStore, 'read' | 'verify'>,
  descriptor: Descriptor,
  options: CallOptions & { name?: string } = {},
): Promise<{ manifest: Manifest; config: ImageConfig | undefined }> {
  const { name = descriptor.digest, ...calls } = options;
  const bytes = await readBlob(content, descriptor, { maxBytes: maxManifestBytes, ...calls });
  const manifest = parseManifest(bytes, descriptor.mediaType, name);
  if (!isImageConfigType(manifest.config.mediaType)) return { manifest, config: undefined };
  const limits = { maxBytes: maxConfigBytes, ...calls };
  const configBytes = await readBlob(content, manifest.config, limits);
  return { manifest, config: parseImageConfig(configBytes, manifest, name) };
}

/** Why an artifact is not unpacked or run. @param name its reference or digest */
export function artifactError(name: string): DrayError {
  return new DrayError('MANIFEST_UNSUPPORTED', `${name} is an artifact, not an image`, {
    hint: 'Only images are unpacked and run. Its blobs can be had with: dray content get DIGEST',
  });
}

/** Indexes inside indexes that are followed. */
const maxIndexDepth = 4;

/**
 * The images that an image's name leads to: those that its index names, attestations left out; or its one manifest.
 * What of an inner index the store does not have is left out.
 * @throws BLOB_UNKNOWN for the outer one
 */
export async function imagesUnder(
  content: Pick<ContentStore, 'read' | 'verify'>,
  target: Descriptor,
  options: CallOptions = {},
  depth = 0,
): Promise<Descriptor[]> {
  if (!isIndexType(target.mediaType)) return [target];
  if (depth >= maxIndexDepth) return [];
  const bytes = await readBlob(content, target, { maxBytes: maxManifestBytes, ...options });
  const parsed = parseIndexOrManifest(bytes, target.mediaType, target.digest);
  const found: Descriptor[] = [];
  for (const each of 'index' in parsed ? imageManifests(parsed.index) : []) {
    try {
      found.push(...(await imagesUnder(content, each, options, depth + 1)));
    } catch (error) {
      if (!(error instanceof DrayError) || error.code !== 'BLOB_UNKNOWN') throw error;
    }
  }
  return found;
}

/** A small blob that must be in the store. @throws BLOB_UNKNOWN with `context.digest` */
export async function readBlob(
  content: Pick<ContentStore, 'read' | 'verify'>,
  descriptor: Descriptor,
  options: CallOptions & { maxBytes: number },
): Promise<Buffer> {
  const bytes = await readStored(content, descriptor, { ...options, readOnly: true });
  if (bytes !== undefined) return bytes;
  const { digest } = descriptor;
  throw new DrayError('BLOB_UNKNOWN', `The content store lacks ${digest}, or has it wrong`, {
    hint: 'Fetch the image again: dray fetch REF',
    context: { digest },
  });
}

/** Whoever names a blob by hand may have taken the wrong one: that says nothing of an image. */
function noManifest(digest: Digest, cause?: unknown): DrayError {
  const why = cause instanceof DrayError ? `: ${cause.message}` : '';
  return new DrayError('MANIFEST_INVALID', `${digest} is neither an index nor a manifest${why}`, {
    cause,
    hint: 'dray images shows the digest of each image.',
  });
}

/**
 * An image is to be unpacked from what the store holds: nobody fetches what is missing.
 * @throws BLOB_UNKNOWN naming the layers that are not there
 */
export async function requireLayers(
  content: Pick<ContentStore, 'info'>,
  { layers }: Pick<Manifest, 'layers'>,
  options: CallOptions = {},
): Promise<void> {
  const missing: Digest[] = [];
  for (const { digest } of layers) {
    if ((await content.info(digest, options)) === undefined) missing.push(digest);
  }
  const [first] = missing;
  if (first === undefined) return;
  const others = missing.length > 1 ? ` and ${missing.length - 1} more` : '';
  throw new DrayError('BLOB_UNKNOWN', `The content store lacks layer ${first}${others}`, {
    hint: 'Fetch the image again: dray fetch REF',
  });
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
  if (info.size > maxManifestBytes) throw noManifest(digest);
  const bytes = await readVerified(content, unnamed, { maxBytes: maxManifestBytes, ...options });
  let descriptor: Descriptor;
  let parsed: ReturnType<typeof parseIndexOrManifest>;
  try {
    descriptor = { ...unnamed, mediaType: sniffMediaType(bytes, digest) };
    parsed = parseIndexOrManifest(bytes, descriptor.mediaType, digest);
  } catch (error) {
    throw noManifest(digest, error);
  }
  return 'index' in parsed ? selectPlatform(parsed.index, hostPlatform(), digest) : descriptor;
}
