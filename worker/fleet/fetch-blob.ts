import { asDrayError, DrayError } from '../../shared/errors.ts';
import { forEachAtMost } from '../../shared/for-each-at-most.ts';
import type { Descriptor } from '../../shared/image/descriptor.ts';
import type { Digest } from '../../shared/image/digest.ts';
import { parseReference, type Reference } from '../../shared/image/reference.ts';
import { highest, type Priority } from '../../shared/pull/priority.ts';
import { isWaitedFor } from '../../shared/pull/record.ts';
import { isFinished } from '../../shared/pull/status.ts';
import { attendedFor } from '../../shared/pull/transfers.ts';
import type { FollowUp } from '../../shared/queue/jobs.ts';
import type { FetchPayload } from '../../shared/queue/payloads.ts';
import { bytes } from '../../shared/telemetry/metrics.ts';
import { traced } from '../../shared/telemetry/trace.ts';
import { askingFor } from './budget/asking.ts';
import { blobArrived } from './join.ts';
import { mismatches } from './metrics.ts';
import { noteOf } from './note.ts';
import { fetchBlob } from './registry/fetch.ts';
import type { FleetServices } from './services.ts';
import { whileWanted } from './wanted.ts';

/** Where a blob can be had, and which pulls named that place. */
interface Source {
  reference: Reference;
  descriptor: Descriptor;
  /** The name of the credential that the pulls gave. */
  credential?: string | undefined;
  pulls: string[];
  /** The first among theirs. */
  priority: Priority;
  /** None of them is waited for. */
  isPatient: boolean;
}

/** Milliseconds between two words about a transfer; more when this worker has many: about 40 words a second of all. */
const progressInterval = 100;
const progressShare = 25;
/** Milliseconds for which bytes are kept that the store does not take: longer than a link is usually down. */
const patientMs = 60_000;
/** Milliseconds: longer than a job waits until it is tried again. */
const longestRetry = 120_000;
/** Pulls that wait for the same blob, and are looked at at once. */
const concurrentLooks = 32;
let transfers = 0;

/**
 * Brings one blob into the store, once for all pulls that wait for it: from the first of their repositories
 * that gives it. A pull whose own repository refuses for good fails with that repository's answer, even when
 * the blob could be had elsewhere: it may not have what its registry does not give it.
 */
export async function fetchBlobJob(
  payload: FetchPayload,
  services: FleetServices,
  options: { signal: AbortSignal },
): Promise<FollowUp[]> {
  const { digest } = payload;
  const { records } = services;
  await settleDoubt(digest, services, options);
  const tried = new Set<string>();
  let passing: DrayError | undefined;
  for (;;) {
    if (await blobArrived(services, digest, options)) return [];
    const { sources, unreadable } = await sourcesOf(digest, services);
    const source = sources.find((s) => !tried.has(sourceKey(s)));
    if (source === undefined) {
      passing ??= unreadable;
      break;
    }
    tried.add(sourceKey(source));
    try {
      const isWanted = () => records.blobs.isWanted(digest);
      const { priority, isPatient } = source;
      await askingFor({ ticket: digest, priority, isPatient }, () =>
        whileWanted(isWanted, options, (wanted) => transfer(source, services, wanted)),
      );
    } catch (thrown) {
      if (options.signal.aborted) throw thrown;
      const error = withDigest(asDrayError(thrown), digest);
      if (error.code === 'CANCELLED') {
        await records.transfers.ended(digest);
        return [];
      }
      // It waits in the queue, not for bytes.
      if (error.code === 'RATE_LIMITED') await records.transfers.ended(digest);
      else await records.transfers.attend(digest, longestRetry);
      if (error.retryable) passing = error;
      else await Promise.all(source.pulls.map((pull) => records.fail(pull, error)));
    }
  }
  if (passing !== undefined) throw passing;
  return [];
}

/** A node found the blob wrong: what is not right is set aside, and fetched like one that is not there. */
async function settleDoubt(
  digest: Digest,
  { records, store, log }: FleetServices,
  options: { signal: AbortSignal },
): Promise<void> {
  if (!(await records.blobs.isDoubted(digest))) return;
  const verdict = await store.content.verify(digest, options);
  if (verdict === 'wrong') log.warn({ digest }, 'a wrong blob of the content store was set aside');
  await records.blobs.trust(digest);
}

/** The job failed for good: so do all pulls that still wait for the blob. */
export async function fetchBlobGaveUp(
  payload: FetchPayload,
  services: Pick<FleetServices, 'records'>,
  error: DrayError,
): Promise<void> {
  const failure = withDigest(error, payload.digest);
  const pulls = await services.records.blobs.waiting(payload.digest);
  await Promise.all(pulls.map((pull) => services.records.fail(pull, failure)));
  await services.records.transfers.ended(payload.digest);
}

async function transfer(
  source: Source,
  services: FleetServices,
  options: { signal: AbortSignal },
): Promise<void> {
  const { digest } = source.descriptor;
  const { records, store, client } = services;
  let last = 0;
  const report = (bytes: number) => {
    const now = performance.now();
    if (now - last < Math.max(progressInterval, progressShare * transfers)) return;
    last = now;
    records.transfers.moved(digest, bytes).catch((error: unknown) => {
      services.log.debug({ err: error, digest }, 'progress could not be written');
    });
  };
  await records.transfers.moved(digest, 0);
  transfers++;
  // However slow the registry is.
  const attending = setInterval(() => {
    records.transfers.attend(digest).catch(() => {});
  }, attendedFor / 3);
  await using stack = new AsyncDisposableStack();
  stack.defer(() => {
    clearInterval(attending);
    transfers--;
  });
  // Bytes that do not match the digest get one more chance: a cache on the way may have been at fault.
  for (let chance = 1; ; chance--) {
    await using ingest = await store.content.ingest(source.descriptor, {
      ...options,
      patientMs,
      waiting: (why) => void tellWaiting(digest, why, services),
    });
    const resumedAt = ingest.offset;
    try {
      const attributes = {
        digest,
        size: source.descriptor.size,
        registry: source.reference.registry,
      };
      await traced('fetch', { attributes }, async (span) => {
        span.set({ resumedAt });
        await fetchBlob(client, source.reference, source.descriptor, ingest, {
          ...options,
          credential: source.credential,
          // Wrong bytes may be a mirror's.
          mirrors: chance === 1,
          onProgress: report,
        });
        await ingest.commit(options);
      });
      bytes.inc({ source: 'registry' }, source.descriptor.size);
      break;
    } catch (error) {
      const { code } = asDrayError(error);
      if (code !== 'DIGEST_MISMATCH' && code !== 'SIZE_MISMATCH') throw error;
      mismatches.inc();
      // What was read back from the store may be what is wrong; it was dropped.
      const isFree = resumedAt > 0 && code === 'DIGEST_MISMATCH';
      if (isFree) chance++;
      if (chance <= 0) throw wrongBytes(asDrayError(error), source.reference);
      services.log.warn(
        { err: error, digest },
        isFree ? 'wrong bytes; fetching anew' : 'the registry sent wrong bytes; fetching once more',
      );
    }
  }
  await blobArrived(services, digest, options);
  await records.transfers.ended(digest);
}

/** Says to people why the pulls of a blob wait, though its transfer has not failed; or takes it back. */
async function tellWaiting(
  digest: Digest,
  why: DrayError | undefined,
  { records, log }: Pick<FleetServices, 'records' | 'log'>,
): Promise<void> {
  if (why !== undefined) log.warn({ err: why, digest }, 'bytes wait for the content store');
  const note = why === undefined ? '' : (noteOf(why) ?? '');
  try {
    for (const pull of await records.blobs.waiting(digest)) await records.note(pull, note);
  } catch (error) {
    log.debug({ err: error, digest }, 'a note could not be written');
  }
}

/** Says who sent them. */
function wrongBytes(error: DrayError, { registry, repository }: Reference): DrayError {
  return new DrayError(
    error.code,
    `${registry}/${repository} sent wrong bytes, twice. ${error.message}`,
    {
      cause: error,
      context: error.context,
      hint: 'Nothing of them was kept. Push the image again, or look for a proxy on the way that is at fault.',
    },
  );
}

/**
 * Where the pulls that wait for a blob have it.
 * @returns also what is wrong with one that can't be read: a worker of the version that wrote it may take the job
 */
async function sourcesOf(
  digest: Digest,
  services: Pick<FleetServices, 'records'>,
): Promise<{ sources: Source[]; unreadable?: DrayError }> {
  const sources = new Map<string, Source>();
  let unreadable: DrayError | undefined;
  const waiting = await services.records.blobs.waiting(digest);
  await forEachAtMost(concurrentLooks, waiting, async (pull) => {
    try {
      const source = await sourceOf(pull, digest, services);
      if (source === undefined) return;
      const known = sources.get(sourceKey(source));
      if (known === undefined) sources.set(sourceKey(source), source);
      else {
        known.pulls.push(pull);
        known.priority = highest([known.priority, source.priority]);
        known.isPatient &&= source.isPatient;
      }
    } catch (error) {
      if (!(error instanceof DrayError)) throw error;
      unreadable = withDigest(error, digest, true);
    }
  });
  return { sources: [...sources.values()], ...(unreadable && { unreadable }) };
}

/** @throws a DrayError for a record that can't be read */
async function sourceOf(
  pull: string,
  digest: Digest,
  { records }: Pick<FleetServices, 'records'>,
): Promise<Source | undefined> {
  const [record, planned] = await Promise.all([records.get(pull), records.blobs.get(pull, digest)]);
  if (record === undefined || planned === undefined || isFinished(record.state)) {
    // It was ended by somebody who died before all of that was done.
    await records.blobs.leave(pull, digest);
    return undefined;
  }
  return {
    reference: parseReference(record.reference),
    descriptor: planned.descriptor,
    credential: record.credential,
    pulls: [pull],
    priority: record.priority,
    isPatient: !isWaitedFor(record),
  };
}

function sourceKey({ reference, descriptor, credential = '' }: Source): string {
  return `${reference.registry}/${reference.repository} ${descriptor.size} ${credential}`;
}

function withDigest(error: DrayError, digest: Digest, retryable = error.retryable): DrayError {
  return new DrayError(error.code, error.message, {
    retryable,
    cause: error.cause,
    context: { ...error.context, digest },
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
}
