import { ErrorCode, Job, type JobsOptions, Queue } from 'bullmq';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import { type Priority, rankOf } from '../pull/priority.ts';
import { queueTelemetry } from '../telemetry/trace.ts';
import type { Redis } from './connection.ts';
import {
  fetchQueue,
  gcQueue,
  jobIdOf,
  nodeGcQueue,
  resolveQueue,
  unpackQueue,
  webhookQueue,
} from './names.ts';
import { payloadVersion } from './payloads.ts';

/**
 * A job to follow. Handlers return these as data; {@link JobQueues.add} is the one place that enqueues.
 * `isNew`: there is no such resolve job yet; or a fetch-blob job that is there may not know of the place where this
 * pull gets the blob, and need not wait for the one that it knows.
 */
export type FollowUp = { priority: Priority } & (
  | { queue: 'resolve'; pull: string; isNew?: boolean }
  | { queue: 'fetch-blob'; digest: Digest; isNew?: boolean }
  | { queue: 'unpack'; node: string; pull: string; manifest: Descriptor }
  | { queue: 'webhook'; pull: string }
  | { queue: 'gc'; node?: string; request: string; dryRun: boolean; graceMs?: number }
);

/** Tries of a job whose failures may pass, within a minute; a failure that can't pass ends it at once. */
export const jobAttempts = 8;
/** The same where a person waits, who may know better what is wrong: within ten seconds. */
const watchedAttempts = 5;

/** Tries of a webhook, within half an hour: whoever is to be told may be away for a while. */
const webhookAttempts = 12;

const options: JobsOptions = {
  attempts: jobAttempts,
  backoff: { type: 'exponential', delay: 500, jitter: 0.5 },
  removeOnComplete: true,
  // A person can look at what failed; the joins never depend on it.
  removeOnFail: { age: 7 * 24 * 3600, count: 1_000 },
  sizeLimit: 16 * 1024,
};

/** Of a resolve job that is new. */
export function resolveJobOptions(priority: Priority): JobsOptions {
  const attempts = priority === 'high' ? watchedAttempts : jobAttempts;
  return { ...options, attempts, priority: queuePriority(priority) };
}

/**
 * BullMQ's priority, of which the lowest comes first; 0 would be before all. What was told when to come back, since a
 * registry's limit was used up, comes before what has not been tried, or its time would pass.
 */
export function queuePriority(priority: Priority, isExpected = false): number {
  return 2 * rankOf(priority) + (isExpected ? 1 : 2);
}

/** The same job's priority, expected or not any more. */
export function asExpected(priority: number, isExpected: boolean): number {
  return priority - (isExpected === waitsForLimit(priority) ? 0 : isExpected ? 1 : -1);
}

/** Whether a job that is delayed is so because of a limit, not because it failed. */
function waitsForLimit(priority: number): boolean {
  return priority % 2 === 1;
}

/** The producing ends of the queues. */
export class JobQueues implements AsyncDisposable {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #queues = new Map<string, Queue>();

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /**
   * Enqueues. A job that is queued or runs already is not added again; it gets the higher of the two priorities, and
   * with that it is tried at once when it waits for a registry's limit only.
   */
  async add(jobs: readonly FollowUp[]): Promise<void> {
    await Promise.all(jobs.map((job) => this.#add(job)));
  }

  async #add(job: FollowUp): Promise<void> {
    const priority = queuePriority(job.priority);
    const added = await this.#enqueue(job, { ...options, priority });
    if (job.queue === 'resolve' && job.isNew === true) return;
    const known = await Job.fromId(this.queue(nameOf(job)), added.id ?? '');
    // Gone, or just added.
    if (known === undefined) return;
    const waits = waitsForLimit(known.priority);
    const isRaised = known.priority > priority;
    if (isRaised && !(await raise(known, asExpected(priority, waits)))) return;
    const isUrgent = isRaised || (job.queue === 'fetch-blob' && job.isNew === true);
    if (isUrgent && waits && (await known.isDelayed())) {
      // Somebody else may have promoted it in between.
      await known.promote().catch(() => {});
    }
  }

  async #enqueue(job: FollowUp, options: JobsOptions): Promise<Job> {
    switch (job.queue) {
      case 'resolve':
        return await this.queue(resolveQueue).add(
          'resolve',
          { v: payloadVersion, pull: job.pull },
          { ...resolveJobOptions(job.priority), jobId: job.pull },
        );
      case 'fetch-blob':
        // Deduplication ends with the job; a job id of a failed job that is kept would block the digest.
        return await this.queue(fetchQueue).add(
          'fetch-blob',
          { v: payloadVersion, digest: job.digest },
          { ...options, deduplication: { id: jobIdOf(job.digest) } },
        );
      case 'unpack': {
        const { mediaType, digest, size } = job.manifest;
        return await this.queue(unpackQueue(job.node)).add(
          'unpack',
          { v: payloadVersion, pull: job.pull, manifest: { mediaType, digest, size } },
          { ...options, jobId: job.pull },
        );
      }
      case 'webhook':
        return await this.queue(webhookQueue).add(
          'webhook',
          { v: payloadVersion, pull: job.pull },
          { ...options, jobId: job.pull, attempts: webhookAttempts },
        );
      case 'gc': {
        const { request, dryRun, graceMs } = job;
        return await this.queue(nameOf(job)).add(
          'gc',
          { v: payloadVersion, request, dryRun, ...(graceMs === undefined ? {} : { graceMs }) },
          { ...options, jobId: request },
        );
      }
    }
  }

  /** Drops what is left of an ended job, so that its id can be used again. */
  async forget(name: string, jobId: string): Promise<void> {
    const job = await this.queue(name).getJob(jobId);
    if (job !== undefined && ((await job.isFailed()) || (await job.isCompleted()))) {
      await job.remove();
    }
  }

  queue(name: string): Queue {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = new Queue(name, {
        connection: this.#redis,
        prefix: this.#prefix,
        skipVersionCheck: true,
        // Nobody reads these streams, and each node has one.
        streams: { events: { maxLen: 10 } },
        ...queueTelemetry(),
      });
      queue.on('error', () => {});
      this.#queues.set(name, queue);
    }
    return queue;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }
}

/** @returns false when the job has ended meanwhile */
async function raise(job: Job, priority: number): Promise<boolean> {
  try {
    await job.changePriority({ priority });
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code === ErrorCode.JobNotExist) return false;
    throw error;
  }
}

function nameOf(job: FollowUp): string {
  switch (job.queue) {
    case 'resolve':
      return resolveQueue;
    case 'fetch-blob':
      return fetchQueue;
    case 'unpack':
      return unpackQueue(job.node);
    case 'webhook':
      return webhookQueue;
    case 'gc':
      return job.node === undefined ? gcQueue : nodeGcQueue(job.node);
  }
}
