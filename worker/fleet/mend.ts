import { ageOf } from '../../shared/duration.ts';
import { DrayError, decodeError } from '../../shared/errors.ts';
import type { Digest } from '../../shared/image/digest.ts';
import { nodeSeen } from '../../shared/node/registry.ts';
import { rankOf } from '../../shared/pull/priority.ts';
import type { PullRecord } from '../../shared/pull/record.ts';
import { isFinished } from '../../shared/pull/status.ts';
import type { Redis } from '../../shared/queue/connection.ts';
import { type FollowUp, type JobQueues, queuePriority } from '../../shared/queue/jobs.ts';
import { resolveQueue, unpackQueue } from '../../shared/queue/names.ts';
import { blobArrived } from './join.ts';
import { followUps, unpackJobs } from './resolve.ts';
import type { FleetServices } from './services.ts';

/** Milliseconds for which a node that is lost is waited for: its agent may be restarted meanwhile. */
const lostNodeBound = 120_000;

export interface MendServices
  extends Pick<FleetServices, 'records' | 'store' | 'newLease' | 'log'> {
  redis: Redis;
  queues: JobQueues;
}

interface CallOptions {
  signal: AbortSignal;
}

/** What is found out once for all pulls of a round: many wait for the same blobs. */
export class MendRound {
  readonly #services: MendServices;
  readonly #options: CallOptions;
  readonly #arrivals = new Map<Digest, Promise<boolean>>();
  readonly #fetches = new Map<Digest, number>();

  constructor(services: MendServices, options: CallOptions) {
    this.#services = services;
    this.#options = options;
  }

  /** See {@link blobArrived}, which looks after every pull that waits. */
  hasArrived(digest: Digest): Promise<boolean> {
    let arrival = this.#arrivals.get(digest);
    if (arrival === undefined) {
      arrival = blobArrived(this.#services, digest, this.#options);
      this.#arrivals.set(digest, arrival);
    }
    return arrival;
  }

  /** Leaves out the fetches that this round has enqueued already, with that priority or a higher one. */
  unsaid(jobs: FollowUp[]): FollowUp[] {
    return jobs.filter((job) => {
      if (job.queue !== 'fetch-blob') return true;
      const rank = rankOf(job.priority);
      if (rank >= (this.#fetches.get(job.digest) ?? Number.POSITIVE_INFINITY)) return false;
      this.#fetches.set(job.digest, rank);
      return true;
    });
  }
}

/** Looks after one open pull: its deadlines, its jobs that were lost, and its nodes that are not at work. */
export async function mend(
  id: string,
  services: MendServices,
  options: CallOptions,
  round = new MendRound(services, options),
): Promise<void> {
  const { records, queues } = services;
  const record = await records.get(id);
  if (record === undefined || isFinished(record.state)) return;
  if (record.error !== undefined) {
    // Whoever ended it died over that.
    await records.fail(id, decodeError(record.error));
    return;
  }
  if (await ranOut(record, services)) return;
  if (!record.planned) {
    await mendResolve(record, services);
    return;
  }
  const jobs = await followUps(id, services, options, (digest) => round.hasArrived(digest));
  await queues.add(round.unsaid(jobs));
  if (record.images.length > 0) await mendNodes(record, services);
  await records.settle(id);
}

async function mendResolve(record: PullRecord, services: MendServices): Promise<void> {
  const { records, queues } = services;
  const { id, priority } = record;
  const job = await queues.queue(resolveQueue).getJob(id);
  if (job === undefined || job.priority > queuePriority(priority)) {
    await queues.add([{ queue: 'resolve', pull: id, priority }]);
  } else if (await job.isFailed()) {
    await records.fail(
      id,
      new DrayError('INTERNAL', `Resolving failed: ${job.failedReason}`, {
        hint: 'Pull again; if it fails again, look into the logs of the workers.',
      }),
    );
  } else if (await job.isCompleted()) {
    await queues.forget(resolveQueue, id);
  }
}

/** Nodes under way that do not say that they are at work: their jobs are enqueued anew, or they are given up. */
async function mendNodes(record: PullRecord, services: MendServices): Promise<void> {
  const { records, queues, redis } = services;
  const { id, pace } = record;
  const names = await records.nodes.overdue(id);
  if (names.length === 0) return;
  const bound = Math.min(lostNodeBound, pace.noProgressMs ?? lostNodeBound);
  const seen = await nodeSeen(redis, records.keys, names);
  const silent: string[] = [];
  for (const name of names) {
    const { silentMs, seenAt } = seen.get(name) ?? {};
    if (silentMs === undefined || silentMs > bound) {
      await records.nodes.withdraw(id, name, lostNode(name, seenAt));
      continue;
    }
    // A job that ended without its outcome being recorded blocks its id.
    await queues.forget(unpackQueue(name), id);
    silent.push(name);
  }
  await queues.add(await unpackJobs(record, silent, services));
}

function lostNode(name: string, seenAt: Date | undefined): DrayError {
  return new DrayError(
    'NODE_LOST',
    seenAt === undefined
      ? `The node ${name} is not in the fleet any more`
      : `The node ${name} was not heard of for ${ageOf(seenAt, new Date())}`,
    { hint: `See whether its machine and its agent run, then pull again: dray nodes` },
  );
}

/** Ends what has run out of time. @returns whether the pull has ended by that */
async function ranOut(record: PullRecord, services: MendServices): Promise<boolean> {
  const { records } = services;
  const { id, pace, createdAt, planned } = record;
  const { timeoutMs, noProgressMs } = pace;
  const age = Date.now() - createdAt.getTime();
  if (timeoutMs !== undefined && age > timeoutMs) {
    const why = `The pull was not done within its ${inWords(timeoutMs)}`;
    await giveUp(record, new DrayError('TIMEOUT', why, { hint: moreTime('--timeout') }), services);
    return true;
  }
  if (noProgressMs === undefined) return false;
  if (planned && (await records.blobs.missing(id)).length === 0) return false;
  const still = Date.now() - (await records.movedAt(id, createdAt)).getTime();
  if (still <= noProgressMs) return false;
  const what = planned ? 'its content' : 'resolving its reference';
  const why = `The pull made no progress with ${what} for ${inWords(noProgressMs)}${record.note === undefined ? '' : `: ${record.note}`}`;
  await records.fail(id, new DrayError('TIMEOUT', why, { hint: moreTime('--progress-deadline') }));
  return true;
}

/** Content that is not whole fails the pull; else each node that has not ended fails, and no other begins. */
async function giveUp(
  { id, planned, nodes }: PullRecord,
  error: DrayError,
  { records }: MendServices,
): Promise<void> {
  if (!planned || nodes.total === 0 || (await records.blobs.missing(id)).length > 0) {
    await records.fail(id, error);
    return;
  }
  await records.stop(id, error);
  for (const name of await records.nodes.active(id)) {
    await records.nodes.withdraw(id, name, error);
  }
}

function moreTime(option: string): string {
  return `Pull again, with a longer ${option} or none: what was done so far is not done again.`;
}

function inWords(ms: number): string {
  return ageOf(new Date(0), new Date(ms));
}
