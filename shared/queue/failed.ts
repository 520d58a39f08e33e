import type { Job, Queue } from 'bullmq';
import { DrayError } from '../errors.ts';
import { isDigest } from '../image/digest.ts';
import type { Redis } from './connection.ts';

/** A job that was given up, as people look at it. */
export interface FailedJob {
  id: string;
  /** The stable code of what went wrong; INTERNAL where BullMQ itself gave it up. */
  code: string;
  reason: string;
  attempts: number;
  addedAt: Date;
  failedAt: Date;
  /** The pull that it was for, unless it was for any that waited for a digest. */
  pull?: string;
  digest?: string;
}

/**
 * The failed jobs of a queue, the latest first.
 * @param options.before the id of a failed job: those that failed before it
 * @throws NOT_FOUND when that is none (any more)
 */
export async function listFailed(
  redis: Redis,
  queue: Queue,
  options: { limit: number; before?: string },
): Promise<FailedJob[]> {
  let first = 0;
  if (options.before !== undefined) {
    const rank = await redis.zrevrank(queue.toKey('failed'), options.before);
    if (rank === null) throw noSuchJob(queue.name, options.before);
    first = rank + 1;
  }
  const jobs = await queue.getFailed(first, first + options.limit - 1);
  // One that was removed between the two looks is not there.
  return jobs.filter((job) => job !== undefined).map(failedJob);
}

/** @throws NOT_FOUND; CONFLICT when it has not failed */
export async function findFailed(queue: Queue, id: string): Promise<Job> {
  const job = (await queue.getJob(id)) as Job | undefined;
  if (job === undefined) throw noSuchJob(queue.name, id);
  if (await job.isFailed()) return job;
  throw new DrayError('CONFLICT', `The job ${id} of ${queue.name} has not failed`, {
    hint: 'What is queued or runs is ended by cancelling its pull.',
  });
}

export function failedJob(job: Job): FailedJob {
  const reason = job.failedReason ?? '';
  const [, code = 'INTERNAL', message = reason] = /^([A-Z_]+): (.*)$/s.exec(reason) ?? [];
  const { pull, digest } = (job.data ?? {}) as { pull?: unknown; digest?: unknown };
  return {
    id: job.id ?? '',
    code,
    reason: message,
    attempts: job.attemptsMade,
    addedAt: new Date(job.timestamp),
    failedAt: new Date(job.finishedOn ?? job.timestamp),
    ...(typeof pull === 'string' ? { pull } : {}),
    ...(typeof digest === 'string' && isDigest(digest) ? { digest } : {}),
  };
}

function noSuchJob(queue: string, id: string): DrayError {
  return new DrayError('NOT_FOUND', `The queue ${queue} has no job ${id}`, {
    hint: 'Failed jobs are kept for seven days, the latest thousand of a queue.',
  });
}
