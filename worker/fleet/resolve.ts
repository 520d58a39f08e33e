import { putBytes } from '../../shared/content/blob.ts';
import { asDrayError, DrayError } from '../../shared/errors.ts';
import {
  type Descriptor,
  isIndexType,
  isManifestType,
  mediaTypes,
} from '../../shared/image/descriptor.ts';
import { digestOf } from '../../shared/image/digest.ts';
import { parseIndexOrManifest } from '../../shared/image/manifest.ts';
import { parseReference, type Reference } from '../../shared/image/reference.ts';
import type { PullRecord } from '../../shared/pull/record.ts';
import { isFinished } from '../../shared/pull/status.ts';
import type { FollowUp } from '../../shared/queue/jobs.ts';
import type { ResolvePayload } from '../../shared/queue/payloads.ts';
import { blobArrived, contentComplete } from './join.ts';
import { planImage } from './plan-image.ts';
import { listReferrers, referrersIndex } from './registry/referrers.ts';
import type { FleetServices } from './services.ts';
import { whileWanted } from './wanted.ts';

interface CallOptions {
  signal: AbortSignal;
  /** The name of the credential that counts at the registry. */
  credential?: string | undefined;
}

/**
 * Turns a pull's reference into a pinned digest, stores what is small (index, manifest, config), and plans the
 * rest: which blobs are missing, which nodes shall unpack. Each step finds what an earlier run has done.
 */
export async function resolveJob(
  payload: ResolvePayload,
  services: FleetServices,
  options: CallOptions,
): Promise<FollowUp[]> {
  const { records } = services;
  const record = await records.get(payload.pull);
  if (record === undefined || isFinished(record.state)) return [];
  const isWanted = async () => {
    const state = await records.state(record.id);
    return state !== undefined && !isFinished(state);
  };
  try {
    if (!record.planned) {
      await whileWanted(isWanted, options, (wanted) => plan(record, services, wanted));
    }
  } catch (error) {
    if (!options.signal.aborted && asDrayError(error).code === 'CANCELLED') return [];
    throw error;
  }
  return await followUps(record.id, services, options);
}

/** What a planned pull still needs to have enqueued. Used by the resolve step, and to mend what a crash lost. */
export async function followUps(
  id: string,
  services: Pick<FleetServices, 'records' | 'store'>,
  options: { signal?: AbortSignal },
): Promise<FollowUp[]> {
  const { records, store } = services;
  const record = await records.get(id);
  if (record === undefined || isFinished(record.state) || !record.planned) return [];
  const jobs: FollowUp[] = [];
  const [blobs, missing] = await Promise.all([records.blobs(id), records.missing(id)]);
  // In the order of the plan, which is that in which people read it.
  for (const { descriptor } of blobs) {
    const { digest } = descriptor;
    if (!missing.includes(digest)) continue;
    // Looked up after the pull said that it waits: a fetch that ended in between is seen here.
    if ((await store.content.info(digest, options)) !== undefined) {
      await blobArrived(services, digest, options);
    } else {
      jobs.push({ queue: 'fetch-blob', digest });
    }
  }
  if (jobs.length === 0 && !record.named) await contentComplete(services, id, options);
  if (record.manifest !== undefined) {
    for (const [node, { state }] of await records.nodes(id)) {
      if (state === 'ready' || state === 'failed') continue;
      jobs.push({ queue: 'unpack', node, pull: id, manifest: record.manifest });
    }
  }
  return jobs;
}

/** Pins what the pull is of, stores what is small, and records what else it needs. */
async function plan(
  record: PullRecord,
  services: FleetServices,
  { signal }: CallOptions,
): Promise<void> {
  const options = { signal, credential: record.credential };
  const { records } = services;
  const reference = parseReference(record.reference);
  await records.resolving(record.id);
  if (record.want === 'object') {
    const target = await records.pin(record.id, await describeObject(reference, services, options));
    const existed = (await services.store.content.info(target.digest, options)) !== undefined;
    await records.plan(record.id, undefined, [{ descriptor: target, kind: 'object', existed }]);
    return;
  }
  if (record.want === 'referrers') {
    const target =
      record.target ??
      (await records.pin(record.id, await storeReferrers(reference, services, options)));
    await records.plan(record.id, undefined, [
      { descriptor: target, kind: 'index', existed: false },
    ]);
    return;
  }
  const pinned = await pin(record, reference, services, options);
  const { manifest, blobs } = await planImage(record, pinned, services, options);
  if (manifest === undefined && record.nodes.length > 0) {
    throw new DrayError('PLATFORM_UNKNOWN', `${record.reference} has no image for these nodes`, {
      hint: 'Bring it into the content store only: dray fetch --platform all',
    });
  }
  await records.plan(record.id, manifest, blobs);
}

/** Lists what refers to an image now, and stores the list. @returns the list's descriptor */
async function storeReferrers(
  reference: Reference,
  { client, store }: FleetServices,
  options: CallOptions & { credential?: string | undefined },
): Promise<Descriptor> {
  const subject = reference.digest ?? (await client.resolve(reference, options)).descriptor.digest;
  const bytes = referrersIndex(await listReferrers(client, reference, subject, options));
  const mediaType = mediaTypes.ociIndex;
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  await putBytes(store.content, descriptor, bytes, options);
  return descriptor;
}

interface Pinned {
  target: Descriptor;
  /** It was in the store before. */
  existed: boolean;
}

/** Asks the registry what the reference is and pins the answer, unless an earlier run pinned one. */
async function pin(
  record: PullRecord,
  reference: Reference,
  services: FleetServices,
  options: CallOptions,
): Promise<Pinned> {
  const { records, store, client } = services;
  if (record.target !== undefined) return { target: record.target, existed: false };
  const known = await inStore(record, reference, services, options);
  if (known !== undefined) return { target: await records.pin(record.id, known), existed: true };
  const { descriptor, bytes } = await client.resolve(reference, options);
  if (!isIndexType(descriptor.mediaType) && !isManifestType(descriptor.mediaType)) {
    // Throws what is wrong with it, before it gets into the store.
    parseIndexOrManifest(bytes, descriptor.mediaType, record.reference);
  }
  const existed = (await store.content.info(descriptor.digest, options)) !== undefined;
  if (!existed) await putBytes(store.content, descriptor, bytes, options);
  return { target: await records.pin(record.id, descriptor), existed };
}

/** A reference by digest whose bytes are in the store needs no registry: the digest says what they are. */
async function inStore(
  record: PullRecord,
  reference: Reference,
  services: FleetServices,
  options: CallOptions,
): Promise<Descriptor | undefined> {
  const { digest } = reference;
  if (digest === undefined) return undefined;
  const image = await services.store.images.get(record.reference, options);
  if (image?.target.digest !== digest) return undefined;
  const info = await services.store.content.info(digest, options);
  return info === undefined ? undefined : image.target;
}

/** What a single object is: a blob or a manifest, by what the registry says. */
async function describeObject(
  reference: Reference,
  services: FleetServices,
  options: CallOptions,
): Promise<Descriptor> {
  const { digest } = reference;
  if (digest === undefined) {
    throw new DrayError('REFERENCE_INVALID', 'A single object is fetched by its digest', {
      hint: 'Write it as host/repository@sha256:…',
    });
  }
  return await services.client.describe(reference, digest, options);
}
