import { putBytes } from '../../shared/content/blob.ts';
import { asDrayError, DrayError, decodeError, encodeError } from '../../shared/errors.ts';
import { leasing } from '../../shared/gc/lease.ts';
import { type Descriptor, mediaTypes } from '../../shared/image/descriptor.ts';
import { type Digest, digestOf } from '../../shared/image/digest.ts';
import { parseReference, type Reference } from '../../shared/image/reference.ts';
import { imageFor, isOfSeveral, isWaitedFor, type PullRecord } from '../../shared/pull/record.ts';
import { isFinished } from '../../shared/pull/status.ts';
import type { FollowUp } from '../../shared/queue/jobs.ts';
import type { ResolvePayload } from '../../shared/queue/payloads.ts';
import { cachedBytes } from '../../shared/telemetry/metrics.ts';
import { askingFor } from './budget/asking.ts';
import { blobArrived, contentComplete } from './join.ts';
import { pin } from './pin.ts';
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
      const { id, priority } = record;
      const asker = { ticket: id, pull: id, priority, isPatient: !isWaitedFor(record) };
      await askingFor(asker, () =>
        whileWanted(isWanted, options, (wanted) => planUnderLease(record, services, wanted)),
      );
    }
  } catch (error) {
    if (!options.signal.aborted && asDrayError(error).code === 'CANCELLED') return [];
    throw error;
  }
  return await followUps(record.id, services, { ...options, isNew: true });
}

/** The job failed for good: so does the pull, unless it is planned already; the reconciler looks after it then. */
export async function resolveGaveUp(
  { pull }: ResolvePayload,
  { records, log }: Pick<FleetServices, 'records' | 'log'>,
  error: DrayError,
): Promise<void> {
  const record = await records.get(pull);
  if (record?.planned ?? false) log.warn({ err: error, pull }, 'the next steps of a pull wait');
  else await records.fail(pull, error);
}

/**
 * What a planned pull still needs to have enqueued. Used by the resolve step, and to mend what a crash lost.
 * @param options.isNew it was planned just now
 * @param hasArrived whether a blob that it waits for is in the store: see {@link blobArrived}
 */
export async function followUps(
  id: string,
  services: Pick<FleetServices, 'records' | 'store' | 'newLease'>,
  options: { signal?: AbortSignal; isNew?: boolean },
  hasArrived = (digest: Digest) => blobArrived(services, digest, options),
): Promise<FollowUp[]> {
  const { records } = services;
  const record = await records.get(id);
  if (record === undefined || isFinished(record.state) || !record.planned) return [];
  const { priority } = record;
  const jobs: FollowUp[] = [];
  const [blobs, missing] = await Promise.all([
    records.blobs.planned(id),
    records.blobs.missing(id),
  ]);
  // In the order of the plan, which is that in which people read it.
  const wanted = blobs.map(({ descriptor }) => descriptor.digest);
  const lacking = wanted.filter((digest) => missing.includes(digest));
  // Looked up after the pull said that it waits: a fetch that ended in between is seen here.
  const arrived = await Promise.all(lacking.map(hasArrived));
  for (const [index, digest] of lacking.entries()) {
    if (arrived[index] === true) continue;
    jobs.push({ queue: 'fetch-blob', digest, priority, isNew: options.isNew ?? false });
  }
  if (jobs.length === 0 && !record.named) await contentComplete(services, id, options);
  if (record.images.length > 0) {
    jobs.push(...(await unpackJobs(record, await records.nodes.admit(id), services)));
  }
  return jobs;
}

/** The jobs of nodes that are under way: each gets the image for its platform, or fails when there is none. */
export async function unpackJobs(
  record: PullRecord,
  names: readonly string[],
  { records }: Pick<FleetServices, 'records'>,
): Promise<FollowUp[]> {
  const { id, priority } = record;
  const jobs: FollowUp[] = [];
  const platforms = await records.nodes.platforms(record, names);
  for (const node of names) {
    const platform = platforms.get(node);
    const image = imageFor(record, platform === undefined ? {} : { platform });
    if (image?.manifest !== undefined) {
      jobs.push({ queue: 'unpack', node, pull: id, manifest: image.manifest, priority });
    } else {
      const { error = encodeError(platformLost(node)) } = image ?? {};
      await records.nodes.withdraw(id, node, decodeError(error));
    }
  }
  return jobs;
}

function platformLost(node: string): DrayError {
  return new DrayError(
    'PLATFORM_UNKNOWN',
    `It is not known for which platform ${node} gets the image`,
    {
      hint: 'Pull again.',
    },
  );
}

/** Nothing that the plan counts on is collected as garbage before the plan stands in Redis. */
async function planUnderLease(
  record: PullRecord,
  services: FleetServices,
  options: CallOptions,
): Promise<void> {
  await using lease = services.newLease();
  const content = leasing(services.store.content, lease);
  await plan(record, { ...services, store: { ...services.store, content } }, options);
}

/** Pins what the pull is of, stores what is small, and records what else it needs. */
async function plan(
  record: PullRecord,
  services: FleetServices,
  { signal }: CallOptions,
): Promise<void> {
  const options = { signal, credential: record.credential };
  const { records, log } = services;
  const reference = parseReference(record.reference);
  if (record.state === 'queued') await records.resolving(record.id);
  if (record.want === 'object') {
    const target = await records.pin(record.id, await describeObject(reference, services, options));
    const existed = (await services.store.content.info(target.digest, options)) !== undefined;
    await records.plan(record.id, [], [{ descriptor: target, kind: 'object', existed }]);
    return;
  }
  if (record.want === 'referrers') {
    const target =
      record.target ??
      (await records.pin(record.id, await storeReferrers(reference, services, options)));
    await records.plan(record.id, [], [{ descriptor: target, kind: 'index', existed: false }]);
    return;
  }
  const pinned = await pin(record, reference, services, options);
  const { images, blobs } = await planImage(record, pinned, services, options);
  const found = images.flatMap(({ platform, manifest }) =>
    manifest ? [{ platform, manifest }] : [],
  );
  const [first] = found;
  if (record.desired !== undefined && !record.given && first !== undefined) {
    const { manifest } = first;
    const others = isOfSeveral(record) ? { images: found } : {};
    const version = { target: pinned.target, manifest, ...others, since: new Date() };
    // Before the plan: a run that dies here does it again.
    if (await services.desired.resolved(record.desired, version, options)) {
      const { desired, reference } = record;
      log.info({ desired, reference, digest: pinned.target.digest }, 'a desired set has moved on');
    }
  }
  const had = blobs.filter(({ existed }) => existed);
  if (await records.plan(record.id, images, blobs)) {
    cachedBytes.inc(had.reduce((sum, { descriptor }) => sum + descriptor.size, 0));
  }
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
