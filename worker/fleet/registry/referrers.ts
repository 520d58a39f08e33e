import { DrayError, type ErrorCode } from '../../../shared/errors.ts';
import { type Descriptor, mediaTypes } from '../../../shared/image/descriptor.ts';
import { type Digest, splitDigest } from '../../../shared/image/digest.ts';
import { parseIndexOrManifest } from '../../../shared/image/manifest.ts';
import { formatReference, type Reference } from '../../../shared/image/reference.ts';
import type { CallOptions } from './calls.ts';
import type { RegistryClient } from './client.ts';

/** Pages of one answer, and descriptors on all of them, at most. */
const maxPages = 100;
const maxReferrers = 10_000;

/** Of a digest's encoded part, in the tag that stands in for the referrers API. */
const maxTagEncoded = 64;

/**
 * What refers to a manifest (signatures, attestations, bills of materials) in its repository: by the referrers
 * API, else by the tag that stands in for it (distribution-spec, "Listing Referrers" and "Referrers Tag Schema").
 * @throws MANIFEST_INVALID for too many, or an answer that is no index, and what every call throws
 */
export async function listReferrers(
  client: Pick<RegistryClient, 'referrers' | 'resolve'>,
  reference: Reference,
  subject: Digest,
  options: CallOptions = {},
): Promise<Descriptor[]> {
  const what = `the referrers of ${formatReference({ ...reference, digest: subject })}`;
  const found: Descriptor[] = [];
  let query = '';
  for (let pages = 0; ; pages++) {
    const page = await client.referrers(reference, subject, query, options);
    if (page === undefined) return await byTag(client, reference, subject, what, options);
    found.push(...manifestsOf(page.bytes, what));
    if (page.next === undefined) return found;
    if (pages + 1 >= maxPages || found.length > maxReferrers) {
      throw new DrayError('MANIFEST_INVALID', `There are more than ${found.length} of ${what}`);
    }
    query = page.next;
  }
}

/** The index of what was found, as bytes that can be stored. */
export function referrersIndex(manifests: readonly Descriptor[]): Buffer {
  const mediaType = mediaTypes.ociIndex;
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
}

async function byTag(
  client: Pick<RegistryClient, 'resolve'>,
  { registry, repository }: Reference,
  subject: Digest,
  what: string,
  options: CallOptions,
): Promise<Descriptor[]> {
  const { algorithm, hex } = splitDigest(subject);
  const tag = `${algorithm}-${hex.slice(0, maxTagEncoded)}`;
  try {
    const { bytes } = await client.resolve({ registry, repository, tag }, options);
    return manifestsOf(bytes, what);
  } catch (error) {
    // Nobody has referred to it yet, or the tag is something else's.
    const codes: ErrorCode[] = ['IMAGE_UNKNOWN', 'MANIFEST_INVALID', 'MANIFEST_UNSUPPORTED'];
    if (error instanceof DrayError && codes.includes(error.code)) return [];
    throw error;
  }
}

function manifestsOf(bytes: Uint8Array, what: string): Descriptor[] {
  const parsed = parseIndexOrManifest(bytes, mediaTypes.ociIndex, what);
  return 'index' in parsed ? parsed.index.manifests : [];
}
