import { putBytes, readVerified } from '../../shared/content/blob.ts';
import { asDrayError, DrayError } from '../../shared/errors.ts';
import { type Descriptor, isIndexType, isManifestType } from '../../shared/image/descriptor.ts';
import {
  type ImageConfig,
  isImageConfigType,
  type Manifest,
  maxConfigBytes,
  maxManifestBytes,
  parseImageConfig,
  parseIndexOrManifest,
  selectPlatform,
} from '../../shared/image/manifest.ts';
import {
  fallbacks,
  formatPlatform,
  type Platform,
  parsePlatform,
  samePlatform,
} from '../../shared/image/platform.ts';
import { parseReference, type Reference } from '../../shared/image/reference.ts';
import type { PlannedBlob, PullRecord } from '../../shared/pull/record.ts';
import { isFinished } from '../../shared/pull/status.ts';
import type { FollowUp } from '../../shared/queue/jobs.ts';
import type { ResolvePayload } from '../../shared/queue/payloads.ts';
import { blobArrived, contentComplete } from './join.ts';
import { fetchBlob } from './registry/fetch.ts';
import type { FleetServices } from './services.ts';
import { whileWanted } from './wanted.ts';

/** Indexes inside indexes that are followed. */
const maxIndexDepth = 4;

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
  for (const digest of await records.missing(id)) {
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

async function plan(
  record: PullRecord,
  services: FleetServices,
  { signal }: CallOptions,
): Promise<void> {
  const options = { signal, credential: record.credential };
  const { records, store, client } = services;
  const reference = parseReference(record.reference);
  await records.resolving(record.id);
  const blobs: PlannedBlob[] = [];
  if (!record.name) {
    const target = await records.pin(record.id, await describeObject(reference, services, options));
    const existed = (await store.content.info(target.digest, options)) !== undefined;
    await records.plan(record.id, undefined, [{ descriptor: target, kind: 'object', existed }]);
    return;
  }

  const pinned = await pin(record, reference, services, options);
  const { target } = pinned;
  const visited = new Set<string>();
  let descriptor = target;
  let manifest: Manifest | undefined;
  while (manifest === undefined) {
    const found = await stored(descriptor);
    const parsed = parseIndexOrManifest(found.bytes, descriptor.mediaType, record.reference);
    blobs.push({
      descriptor,
      kind: 'index' in parsed ? 'index' : 'manifest',
      existed: descriptor === target ? pinned.existed : found.existed,
    });
    if ('manifest' in parsed) {
      manifest = parsed.manifest;
    } else {
      visited.add(descriptor.digest);
      descriptor = selectPlatform(parsed.index, parsePlatform(record.platform), record.reference);
      if (visited.has(descriptor.digest) || visited.size >= maxIndexDepth) {
        throw new DrayError(
          'MANIFEST_INVALID',
          `${record.reference} has indexes inside indexes, deeper than ${maxIndexDepth} or in a circle`,
          { hint: 'The image is broken. Build and push it again.' },
        );
      }
    }
  }
  blobs.push(await config(manifest));
  blobs.push(...(await layers(manifest)));
  await records.plan(record.id, descriptor, blobs);

  /** An index or manifest by its digest: from the store, else from the registry into the store. */
  async function stored(wanted: Descriptor): Promise<{ bytes: Buffer; existed: boolean }> {
    const limits = { maxBytes: maxManifestBytes, ...options };
    if ((await store.content.info(wanted.digest, options)) !== undefined) {
      const bytes = await readVerified(store.content, wanted, limits);
      return { bytes, existed: true };
    }
    await services.leases.once(wanted.digest, options, async () => {
      const bytes = await client.manifest(reference, wanted, options);
      await putBytes(store.content, wanted, bytes, options);
    });
    return { bytes: await readVerified(store.content, wanted, limits), existed: false };
  }

  /** The image's configuration, checked against the manifest before any layer is fetched. */
  async function config(of: Manifest): Promise<PlannedBlob> {
    const descriptor = of.config;
    const existed = (await store.content.info(descriptor.digest, options)) !== undefined;
    if (descriptor.size > maxConfigBytes && isImageConfigType(descriptor.mediaType)) {
      throw new DrayError(
        'CONFIG_INVALID',
        `The configuration of ${record.reference} has ${descriptor.size} bytes, more than ${maxConfigBytes}`,
      );
    }
    if (!existed) {
      await services.leases.once(descriptor.digest, options, async () => {
        await using ingest = await store.content.ingest(descriptor, options);
        await fetchBlob(client, reference, descriptor, ingest, options);
        await ingest.commit(options);
      });
    }
    if (isImageConfigType(descriptor.mediaType)) {
      const limits = { maxBytes: maxConfigBytes, ...options };
      const bytes = await readVerified(store.content, descriptor, limits);
      checkPlatform(parseImageConfig(bytes, of, record.reference), record);
    }
    return { descriptor, kind: 'config', existed };
  }

  /** A layer that stands in a manifest twice is fetched once. */
  async function layers(of: Manifest): Promise<PlannedBlob[]> {
    const distinct = new Map(of.layers.map((layer) => [layer.digest, layer]));
    return await Promise.all(
      [...distinct.values()].map(async (descriptor): Promise<PlannedBlob> => {
        const info = await store.content.info(descriptor.digest, options);
        return { descriptor, kind: 'layer', existed: info?.size === descriptor.size };
      }),
    );
  }
}

/** An image that is not in an index says its platform in its configuration. @throws PLATFORM_UNKNOWN */
function checkPlatform(config: ImageConfig, record: PullRecord): void {
  const { os, architecture, variant } = config;
  const offered: Platform = { os, architecture, ...(variant ? { variant } : {}) };
  const wanted = fallbacks(parsePlatform(record.platform));
  if (wanted.some((platform) => samePlatform(offered, platform))) return;
  throw new DrayError(
    'PLATFORM_UNKNOWN',
    `${record.reference} is for ${formatPlatform(offered)}, not for ${record.platform}`,
    { hint: `To have it all the same: --platform ${formatPlatform(offered)}` },
  );
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
