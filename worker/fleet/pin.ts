import { putBytes } from '../../shared/content/blob.ts';
import type { ImageRecord } from '../../shared/content/store.ts';
import { ageOf } from '../../shared/duration.ts';
import { asDrayError, DrayError } from '../../shared/errors.ts';
import { type Descriptor, isIndexType, isManifestType } from '../../shared/image/descriptor.ts';
import type { Digest } from '../../shared/image/digest.ts';
import { parseIndexOrManifest } from '../../shared/image/manifest.ts';
import { parseReference, type Reference } from '../../shared/image/reference.ts';
import { isFresh, parsePullPolicy } from '../../shared/pull/policy.ts';
import type { PullRecord } from '../../shared/pull/record.ts';
import { bytes as fetched } from '../../shared/telemetry/metrics.ts';
import type { Credential } from './registry/credentials/credential.ts';
import type { FleetServices } from './services.ts';

interface CallOptions {
  signal: AbortSignal;
  credential: string | undefined;
}

export interface Pinned {
  target: Descriptor;
  /** It was in the store before. */
  existed: boolean;
}

/**
 * Pins what a pull's reference is, unless an earlier run has: what the store knows, where the digest or the pull's
 * policy makes that enough, else what the registry says. A digest that the store has is enough, too, when the
 * registry can't say anything; a tag is then not.
 */
export async function pin(
  record: PullRecord,
  reference: Reference,
  services: FleetServices,
  options: CallOptions,
): Promise<Pinned> {
  const { records } = services;
  if (record.target !== undefined) return { target: record.target, existed: false };
  const stored = await storedImage(record, services, options);
  if (stored !== undefined && isEnough(stored, record, reference)) {
    await services.access.require(originOf(stored), stored.target.digest, options);
    // A digest is what it is, whenever it was asked for.
    const askedAt = reference.digest === undefined ? stored.updatedAt : undefined;
    return { target: await records.pin(record.id, stored.target, askedAt), existed: true };
  }
  try {
    if (stored !== undefined && reference.digest === undefined) {
      const same = await isSame(reference, stored.target, services, options);
      if (same) return { target: await records.pin(record.id, stored.target), existed: true };
    }
    return await askRegistry(record, reference, services, options);
  } catch (thrown) {
    if (options.signal.aborted) throw thrown;
    const error = asDrayError(thrown);
    if (error.code !== 'REGISTRY_UNAVAILABLE' && error.code !== 'RATE_LIMITED') throw error;
    if (reference.digest !== undefined) {
      const found = await namedOtherwise(reference, reference.digest, services, options);
      if (found === undefined || !(await services.access.isKnown(reference, options))) throw error;
      services.log.info({ err: error, reference: record.reference }, 'taken from the store');
      return { target: await records.pin(record.id, found), existed: true };
    }
    throw stored === undefined ? error : withStored(error, stored, record);
  }
}

/**
 * Whether a tag still is what the store has. Registries that count pulls do not count a HEAD, and one that does not know
 * it is asked as if there were nothing.
 */
async function isSame(
  reference: Reference,
  stored: Descriptor,
  { client, access }: FleetServices,
  options: CallOptions,
): Promise<boolean> {
  let login: Credential | undefined;
  try {
    const found = await client.head(reference, {
      ...options,
      onLogin: (shown) => (login = shown),
    });
    if (found?.digest !== stored.digest || found.mediaType !== stored.mediaType) return false;
  } catch (error) {
    const { code } = asDrayError(error);
    if (options.signal.aborted || code === 'REGISTRY_UNAVAILABLE' || code === 'RATE_LIMITED') {
      throw error;
    }
    return false;
  }
  await access.granted(reference, login, options);
  return true;
}

async function askRegistry(
  record: PullRecord,
  reference: Reference,
  { records, store, client, access }: FleetServices,
  options: CallOptions,
): Promise<Pinned> {
  let login: Credential | undefined;
  const { descriptor, bytes } = await client.resolve(reference, {
    ...options,
    onLogin: (shown) => (login = shown),
  });
  if (!isIndexType(descriptor.mediaType) && !isManifestType(descriptor.mediaType)) {
    // Throws what is wrong with it, before it gets into the store.
    parseIndexOrManifest(bytes, descriptor.mediaType, record.reference);
  }
  const existed = (await store.content.info(descriptor.digest, options)) !== undefined;
  if (!existed) fetched.inc({ source: 'registry' }, descriptor.size);
  // Beside each other: both wait for the store.
  await Promise.all([
    access.granted(reference, login, options),
    existed ? undefined : putBytes(store.content, descriptor, bytes, options),
  ]);
  return { target: await records.pin(record.id, descriptor), existed };
}

/** Where an image came from. */
function originOf({ name, origin }: ImageRecord): Pick<Reference, 'registry' | 'repository'> {
  return parseReference(origin ?? name);
}

/** What the store has under the reference, if its bytes are still there. */
async function storedImage(
  { reference }: PullRecord,
  { store }: FleetServices,
  options: CallOptions,
): Promise<ImageRecord | undefined> {
  const image = await store.images.get(reference, options);
  if (image === undefined) return undefined;
  const info = await store.content.info(image.target.digest, options);
  return info === undefined ? undefined : image;
}

function isEnough(stored: ImageRecord, { policy }: PullRecord, { digest }: Reference): boolean {
  return digest === undefined
    ? isFresh(parsePullPolicy(policy), stored.updatedAt)
    : stored.target.digest === digest;
}

/**
 * What a digest is by the names of the same repository: somebody was allowed to have it from there. What other
 * repositories have is not ours to give.
 */
async function namedOtherwise(
  { registry, repository }: Reference,
  digest: Digest,
  { store }: FleetServices,
  options: CallOptions,
): Promise<Descriptor | undefined> {
  if ((await store.content.info(digest, options)) === undefined) return undefined;
  for (const { name, target, manifest } of await store.images.list(options)) {
    const other = parseReference(name);
    if (other.registry !== registry || other.repository !== repository) continue;
    const found = [target, manifest].find((descriptor) => descriptor.digest === digest);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The error, and how to do with what the store has. */
function withStored(error: DrayError, stored: ImageRecord, { reference }: PullRecord): DrayError {
  const { code, message, retryable, cause, context, hint = '' } = error;
  const age = ageOf(stored.updatedAt, new Date());
  return new DrayError(code, message, {
    ...{ retryable, cause, context },
    hint: `The store has it as it was ${age} ago. To use that: dray pull --pull missing ${reference} (or --pull if-stale=DURATION). ${hint}`.trim(),
  });
}
