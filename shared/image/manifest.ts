import { z } from 'zod';
import { DrayError } from '../errors.ts';
import { type Descriptor, isIndexType, isManifestType, mediaTypes } from './descriptor.ts';
import { type Digest, isDigest } from './digest.ts';
import { checkDocument, parseDocument } from './document.ts';
import { fallbacks, formatPlatform, type Platform, samePlatform } from './platform.ts';

/** The largest manifest or index that is read (distribution-spec asks registries to take 4 MiB). */
export const maxManifestBytes = 4 * 1024 * 1024;

const digestSchema = z.custom<Digest>((v) => typeof v === 'string' && isDigest(v), 'not a digest');
const sizeSchema = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const platformSchema = z.object({
  os: z.string().min(1).max(128),
  architecture: z.string().min(1).max(128),
  variant: z.string().max(128).optional(),
  'os.version': z.string().max(128).optional(),
});
const annotationsSchema = z.record(z.string(), z.string());

/** `data` (image-spec, descriptor.md#properties) is dropped on purpose: blobs are fetched, never believed. */
const descriptorSchema = z.object({
  mediaType: z.string().min(1).max(255),
  digest: digestSchema,
  size: sizeSchema,
  platform: platformSchema.nullish(),
  annotations: annotationsSchema.nullish(),
  artifactType: z.string().max(255).nullish(),
});

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  manifests: z.array(descriptorSchema).max(10_000),
  annotations: annotationsSchema.nullish(),
});

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  config: descriptorSchema,
  layers: z.array(descriptorSchema).max(1_000),
  subject: descriptorSchema.nullish(),
  annotations: annotationsSchema.nullish(),
});

/** A list of manifests (image-spec, image-index.md). */
export interface Index {
  mediaType: string;
  manifests: Descriptor[];
}

/** A config and its layers in order, lowest first (image-spec, manifest.md). */
export interface Manifest {
  mediaType: string;
  artifactType?: string;
  config: Descriptor;
  layers: Descriptor[];
}

/**
 * Parses the bytes of an index or manifest whose digest was verified already.
 * @param mediaType as the registry's Content-Type or the descriptor has it
 * @throws MANIFEST_INVALID, MANIFEST_UNSUPPORTED
 */
export function parseIndexOrManifest(
  bytes: Uint8Array,
  mediaType: string,
  source: string,
): { index: Index } | { manifest: Manifest } {
  if (bytes.length > maxManifestBytes) {
    throw invalid(source, `it has ${bytes.length} bytes, more than ${maxManifestBytes}`);
  }
  const notValid = (why: string, cause?: unknown) => invalid(source, why, cause);
  const record = parseDocument(bytes, notValid);
  if (record.schemaVersion === 1) throw schema1(source);
  if (mediaType === mediaTypes.dockerSchema1 || mediaType === mediaTypes.dockerSchema1Signed) {
    throw schema1(source);
  }
  const declared = typeof record.mediaType === 'string' ? record.mediaType : undefined;
  if (declared !== undefined && declared !== mediaType) {
    throw invalid(source, `it says mediaType "${declared}" but was served as "${mediaType}"`);
  }
  if ('layers' in record && 'manifests' in record) {
    throw invalid(source, 'it has both "layers" and "manifests"');
  }
  if (isIndexType(mediaType)) {
    const parsed = checkDocument(indexSchema, record, notValid);
    return { index: { mediaType, manifests: parsed.manifests.map(toDescriptor) } };
  }
  if (isManifestType(mediaType)) {
    const parsed = checkDocument(manifestSchema, record, notValid);
    return {
      manifest: {
        mediaType,
        ...(parsed.artifactType === undefined ? {} : { artifactType: parsed.artifactType }),
        config: toDescriptor(parsed.config),
        layers: parsed.layers.map(toDescriptor),
      },
    };
  }
  throw new DrayError('MANIFEST_UNSUPPORTED', `${source} has media type "${mediaType}"`, {
    hint: 'drayage pulls OCI and Docker schema 2 images and indexes.',
  });
}

/**
 * The media type of an index or manifest of which only the digest is known: what it says itself, else what its
 * shape says (OCI documents may leave `mediaType` out).
 * @throws MANIFEST_INVALID
 */
export function sniffMediaType(bytes: Uint8Array, source: string): string {
  const record = parseDocument(bytes, (why, cause) => invalid(source, why, cause));
  if (typeof record.mediaType === 'string') return record.mediaType;
  if ('manifests' in record) return mediaTypes.ociIndex;
  if ('layers' in record) return mediaTypes.ociManifest;
  throw invalid(source, 'it is neither an index nor a manifest');
}

/** Parses a manifest. @throws MANIFEST_INVALID, also when it is an index */
export function parseManifest(bytes: Uint8Array, mediaType: string, source: string): Manifest {
  const parsed = parseIndexOrManifest(bytes, mediaType, source);
  if ('manifest' in parsed) return parsed.manifest;
  throw invalid(source, 'it is an index where a manifest is needed');
}

/**
 * Picks the manifest for a platform: the best fallback first, in the index's order.
 * Attestation manifests (platform unknown/unknown) are never picked.
 * @throws PLATFORM_UNKNOWN with the platforms that there are
 */
export function selectPlatform(index: Index, wanted: Platform, source: string): Descriptor {
  const offered = imageManifests(index);
  for (const candidate of fallbacks(wanted)) {
    const found = offered.find(
      (m) => m.platform !== undefined && samePlatform(m.platform, candidate),
    );
    if (found !== undefined) return found;
  }
  const [only] = offered;
  if (offered.length === 1 && only !== undefined && only.platform === undefined) return only;
  const names = offered.flatMap((m) => (m.platform ? [formatPlatform(m.platform)] : []));
  throw new DrayError('PLATFORM_UNKNOWN', `${source} has no image for ${formatPlatform(wanted)}`, {
    hint:
      names.length === 0
        ? 'Its index names no platform.'
        : `It has ${[...new Set(names)].join(', ')}. Choose one with --platform.`,
  });
}

/** Those of an index that are images: attestations are left out. */
export function imageManifests(index: Index): Descriptor[] {
  return index.manifests.filter((m) => !isAttestation(m));
}

function isAttestation(descriptor: Descriptor): boolean {
  return (
    descriptor.annotations?.['vnd.docker.reference.type'] === 'attestation-manifest' ||
    descriptor.platform?.os === 'unknown'
  );
}

function toDescriptor(parsed: z.infer<typeof descriptorSchema>): Descriptor {
  const { platform, annotations, artifactType } = parsed;
  return {
    mediaType: parsed.mediaType,
    digest: parsed.digest,
    size: parsed.size,
    ...(platform ? { platform: definedOnly(platform) } : {}),
    ...(annotations ? { annotations } : {}),
    ...(artifactType ? { artifactType } : {}),
  };
}

function definedOnly(platform: z.infer<typeof platformSchema>): Platform {
  const { os, architecture, variant } = platform;
  return {
    os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    ...(platform['os.version'] === undefined ? {} : { 'os.version': platform['os.version'] }),
  };
}

function invalid(source: string, why: string, cause?: unknown): DrayError {
  return new DrayError('MANIFEST_INVALID', `${source} is not a valid manifest: ${why}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: 'The image is broken. Build and push it again.',
  });
}

function schema1(source: string): DrayError {
  return new DrayError('MANIFEST_UNSUPPORTED', `${source} is a Docker schema 1 image`, {
    hint: 'Schema 1 was removed from registries in 2024. Push the image again with a current tool.',
  });
}
