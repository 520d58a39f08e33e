import { type JobsOptions, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import { fetchQueue, jobIdOf, resolveQueue, unpackQueue } from './names.ts';
import { payloadVersion } from './payloads.ts';

/** A job to follow. Handlers return these as data; {@link JobQueues.add} is the one place that enqueues. */
export type FollowUp =
  | { queue: 'resolve'; pull: string }
  | { queue: 'fetch-blob'; digest: Digest }
  | { queue: 'unpack'; node: string; pull: string; manifest: Descriptor };

/** Tries of a job whose failures may pass; a failure that can't pass ends it at once. */
export const jobAttempts = 8;

const options: JobsOptions = {
  attempts: jobAttempts,
  backoff: { type: 'exponential', delay: 500, jitter: 0.5 },
  removeOnComplete: true,
  // A person can look at what failed; the joins never depend on it.
  removeOnFail: { age: 7 * 24 * 3600, count: 1_000 },
  sizeLimit: 16 * 1024,
};

/** The producing ends of the queues. */
export class JobQueues implements AsyncDisposable {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #queues = new Map<string, Queue>();

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /** Enqueues. A job that is queued or runs already is not added again. */
  async add(jobs: readonly FollowUp[]): Promise<void> {
    await Promise.all(jobs.map((job) => this.#add(job)));
  }

  async #add(job: FollowUp): Promise<void> {
    switch (job.queue) {
      case 'resolve':
        await this.queue(resolveQueue).add(
          'resolve',
          { v: payloadVersion, pull: job.pull },
          { ...options, jobId: job.pull },
        );
        break;
      case 'fetch-blob':
        // Deduplication ends with the job; a job id of a failed job that is kept would block the digest.
        await this.queue(fetchQueue).add(
          'fetch-blob',
          { v: payloadVersion, digest: job.digest },
          { ...options, deduplication: { id: jobIdOf(job.digest) } },
        );
        break;
      case 'unpack': {
        const { mediaType, digest, size } = job.manifest;
        await this.queue(unpackQueue(job.node)).add(
          'unpack',
          { v: payloadVersion, pull: job.pull, manifest: { mediaType, digest, size } },
          { ...options, jobId: job.pull },
        );
        break;
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
