import type { ContentInfo, Store } from '../../../shared/content/store.ts';
import {
  type DesiredSet,
  hasEnded,
  manifestsOf,
  retainedVersions,
} from '../../../shared/desired/desired-set.ts';
import { ageOf } from '../../../shared/duration.ts';
import { messageOf } from '../../../shared/errors.ts';
import { nameLease } from '../../../shared/gc/lease.ts';
import { emptyReport, type GcReport, keep } from '../../../shared/gc/report.ts';
import { expired, lastPulled, type RetentionRule } from '../../../shared/gc/retention.ts';
import type { Digest } from '../../../shared/image/digest.ts';
import type { Logger } from '../../../shared/logging.ts';
import type { PullRecords } from '../../../shared/pull/records.ts';
import { Marks } from './mark.ts';
import type { GcRun } from './run.ts';

/** Ids that are asked for and removed together: each batch must be removed within a few seconds. */
const batch = 32;
/** Milliseconds that what writers left stays at least: they may come back for it. */
const leftoversAge = 3_600_000;

export interface CollectServices {
  store: Store;
  records: Pick<PullRecords, 'open' | 'get' | 'blobs'>;
  log: Logger;
}

export interface CollectOptions {
  /** Milliseconds for which a blob stays, whatever leads to it. */
  graceMs: number;
  retention: readonly RetentionRule[];
  dryRun: boolean;
  signal: AbortSignal;
}

/**
 * Collects the garbage of the content store: names that the rules let go, then blobs that nothing leads to, then what
 * writers left. Can die anywhere: the next one begins anew; two at once would do no harm either.
 *
 * Why nothing is lost, though the store has no locks. A blob is needed from the moment when somebody relies on its
 * being there, and there is always one of three things that says so:
 *
 * 1. a lease in Redis: a resolve step takes it before it asks the store whether the blob exists ({@link ContentLease});
 * 2. an open pull in Redis, whose plan was recorded before that lease ended;
 * 3. a name or a desired set in the store, which was put before the pull left the open ones.
 *
 * The marks are read against that order: the run begins, then open pulls are read, then desired sets, then names. Who
 * passes from 2 to 3 meanwhile is seen in one of them. Names that are read may move while they are: they are read twice, and
 * one that was copied from another before that was removed is in the second reading.
 *
 * Who takes a lease after the marks were read is not in them. So nothing is removed that had a lease at any time since
 * the run began: Redis says so, and in the same step dooms what it lets go. Who takes a lease on what is doomed waits
 * until it is removed, and then finds it missing. A lease that ended is remembered while a run goes on.
 *
 * The store has no part in this, so that two things are left to time. A collector that dies leaves what it doomed to be
 * relied on again after its doom; one that stands still between the doom and the removal gives up on it in half of
 * that. And a removal that the store carries out later than its caller waits for it can hit a blob that is wanted again:
 * a pull looks at all of its content once more before it puts a name, and nodes at what they read; they fetch it again.
 * A deletion on a condition would not prevent it: the same bytes, put again, have the same ETag.
 *
 * What is young stays whatever the marks say, so that bytes which somebody put by hand can be named. When Redis was
 * wiped, names and desired sets are all there is, which is enough: pulls and their leases went with it. A run that
 * Redis lost removes nothing more. When a name can't be followed to its layers, no blob goes.
 */
export async function collect(
  run: GcRun,
  services: CollectServices,
  options: CollectOptions,
): Promise<GcReport> {
  const report = emptyReport();
  const names = await collectNames(run, services, options, report);
  const { dryRun, graceMs, signal } = options;
  // What went is put again by whoever needs it: only a dry run has to look away.
  const without = dryRun ? names : new Set<string>();
  await collectBlobs(run, services, { ...options, without }, report);
  const leftovers = await services.store.content.sweep({
    ...{ olderThanMs: Math.max(graceMs, leftoversAge), dryRun, signal },
  });
  for (const { kind, name, bytes, touchedAt } of leftovers) {
    const why = `untouched for ${ageOf(touchedAt, new Date())}`;
    report.items.push({ kind, name, bytes, why });
  }
  return report;
}

/** @returns the names that went, or would */
async function collectNames(
  run: GcRun,
  { store, records }: CollectServices,
  { retention, dryRun, signal }: CollectOptions,
  report: GcReport,
): Promise<Set<string>> {
  const gone = new Set<string>();
  if (retention.length === 0) return gone;
  const open = await Promise.all((await records.open()).map((id) => records.get(id)));
  const wanted = new Set([
    ...open.map((pull) => pull?.reference),
    ...(await desiredSets(store, signal)).map(({ reference }) => reference),
  ]);
  for (const { record, why } of expired(await store.images.list({ signal }), retention)) {
    const { name } = record;
    if (wanted.has(name)) {
      keep(report, 'names that a pull or a desired set needs', 0);
      continue;
    }
    let isPulledAgain = false;
    const remove = async (_: string, call: { signal: AbortSignal }) => {
      const now = await store.images.get(name, call);
      isPulledAgain = now !== undefined && lastPulled(now) > lastPulled(record);
      if (!isPulledAgain) await store.images.remove(name, call);
    };
    const free = await run.removeFree([nameLease(name)], remove, {
      dryRun,
      failed: (_, error) => report.problems.push(`${name}: ${messageOf(error)}`),
    });
    if (free.length === 0 || isPulledAgain) continue;
    gone.add(name);
    report.items.push({ kind: 'image', name, bytes: 0, why });
  }
  return gone;
}

async function collectBlobs(
  run: GcRun,
  services: CollectServices,
  options: CollectOptions & { without: ReadonlySet<string> },
  report: GcReport,
): Promise<void> {
  const { content } = services.store;
  const { graceMs, dryRun, signal } = options;
  const present = new Map<Digest, ContentInfo>();
  for await (const info of content.list({ signal })) present.set(info.digest, info);
  const marks = new Marks(content, present);
  await mark(marks, services, options);
  if (marks.problems.length > 0) {
    report.problems.push(...marks.problems);
    return;
  }
  const before = Date.now() - graceMs;
  const unmarked = [...present.values()].filter(({ digest }) => !marks.marked.has(digest));
  const old = unmarked.filter(({ size, createdAt }) => {
    if (createdAt.getTime() <= before) return true;
    keep(report, 'nothing leads to them, but they are younger than the grace time (--grace)', size);
    return false;
  });
  for (let at = 0; at < old.length; at += batch) {
    signal.throwIfAborted();
    const some = old.slice(at, at + batch);
    const failed = new Set<string>();
    const gone = await run.removeFree(
      some.map(({ digest }) => digest),
      (id, call) => content.remove(id as Digest, call),
      {
        dryRun,
        failed: (id, error) => {
          failed.add(id);
          report.problems.push(`${id}: ${messageOf(error)}`);
        },
      },
    );
    for (const { digest, size, createdAt } of some) {
      if (gone.includes(digest)) {
        const why = `no image, pull or desired set leads to it; stored ${ageOf(createdAt, new Date())} ago`;
        report.items.push({ kind: 'blob', name: digest, bytes: size, why });
      } else if (!failed.has(digest)) {
        keep(report, 'a pull that begins right now relies on them', size);
      }
    }
  }
}

/** Reads the roots in the order that {@link collect} says. */
async function mark(
  marks: Marks,
  { store, records }: CollectServices,
  { without, signal }: { without: ReadonlySet<string>; signal: AbortSignal },
): Promise<void> {
  const options = { signal };
  for (const id of await records.open()) {
    const pull = await records.get(id);
    for (const descriptor of [pull?.target, pull?.manifest]) {
      if (descriptor !== undefined) await marks.keep(descriptor, options);
    }
    for (const { descriptor } of await records.blobs.planned(id))
      await marks.keep(descriptor, options);
  }
  for (const set of await desiredSets(store, signal)) {
    for (const version of retainedVersions(set)) {
      for (const descriptor of [version.target, ...manifestsOf(version)]) {
        await marks.keep(descriptor, options);
      }
    }
  }
  for (let reading = 0; reading < 2; reading++) {
    for (const { name, target, manifest } of await store.images.list(options)) {
      if (!without.has(name)) await marks.name(name, [target, manifest], options);
    }
  }
}

async function desiredSets(store: Store, signal: AbortSignal): Promise<DesiredSet[]> {
  return (await store.desired.list({ signal })).filter((set) => !hasEnded(set));
}
