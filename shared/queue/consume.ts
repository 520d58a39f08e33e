import { once } from 'node:events';
import { DelayedError, type Job, UnrecoverableError, type Worker } from 'bullmq';
import { asDrayError, DrayError, messageOf } from '../errors.ts';
import { type Logger, loggedAs } from '../logging.ts';
import { jobDuration, jobWait, queueLabel } from '../telemetry/metrics.ts';
import { queueTelemetry } from '../telemetry/trace.ts';
import { isRedisError, type Redis } from './connection.ts';
import { ConsumerWorker } from './consumer-worker.ts';
import type { FollowUp, JobQueues } from './jobs.ts';
import { asExpected, jobAttempts } from './jobs.ts';
import { fenceLocks } from './lock-fence.ts';
import { rateMinutes } from './rates.ts';

export interface JobContext {
  id: string;
  /** Aborts when the job's lock was lost to another worker, and when the program must stop. */
  signal: AbortSignal;
  log: Logger;
}

export interface Tries {
  made: number;
  most: number;
}

export interface Consumer<Payload> {
  queue: string;
  concurrency: number;
  /**
   * Milliseconds between two looks for jobs whose worker has died. Each look costs Redis some commands, in each program
   * that takes from the queue. Default 3,000.
   */
  stalledInterval?: number;
  /** Checks what came out of Redis. */
  parse: (data: unknown) => Payload;
  /**
   * Does the work. Can run twice and at the same time as itself: the second finds the work done.
   * @returns the jobs to follow, which are enqueued before the job counts as done
   */
  handle: (payload: Payload, context: JobContext) => Promise<FollowUp[]>;
  /** The job failed for good: say so to whoever waits for it. Called before the job is marked failed. */
  gaveUp: (payload: Payload, error: DrayError) => Promise<void>;
  /** The job will be tried again. @param tries that failed so far, of how many; undefined when it was put off only */
  retrying?: (payload: Payload, error: DrayError, tries?: Tries) => Promise<void>;
  /** The job has left the queue, done or failed: a job of the same deduplication id can be added again. */
  left?: (payload: Payload) => Promise<void>;
}

export interface ConsumerServices {
  redis: Redis;
  prefix: string;
  queues: JobQueues;
  log: Logger;
  /** Redis says which version it is: see checkServer. Default true. */
  isServerKnown?: boolean;
  /** Aborts when the program must stop: running jobs are handed back, for another program or the next start. */
  stopping: AbortSignal;
}

/** Milliseconds. A worker that died loses its jobs after the lock's duration; another one takes them. */
const lockDuration = 10_000;
const defaultStalledInterval = 3_000;
/** A worker takes a lock for lost a little before Redis does. */
const lockMargin = 1_000;
/** A kill is no failure of the job: only a job that takes its workers down over and over is given up. */
const maxStalledCount = 50;
const newerPayloadDelay = 60_000;
/** Between two lines of the log about the same trouble. */
const errorInterval = 30_000;

/**
 * Stops taking jobs, and waits for the running handlers. While Redis is away it only hangs up: nothing can be handed
 * back, and waiting for that has no end; locks that run out give the jobs to others.
 */
export async function stopConsuming(worker: Worker, redis: Redis): Promise<void> {
  await worker.close(redis.status !== 'ready');
}

/**
 * Waits for work that ends by itself soon, as {@link stopConsuming} does: not while Redis is away, for whose return its
 * commands wait.
 */
export async function settled(work: Promise<unknown>, redis: Redis): Promise<void> {
  if (redis.status !== 'ready') return;
  const over = new AbortController();
  await Promise.race([work, once(redis, 'close', { signal: over.signal })]);
  over.abort();
}

/** Whether a consumer does its work. While Redis is away it can't, and starting it again would not help. */
export function isConsuming(worker: ConsumerWorker, redis: Redis): boolean {
  return redis.status !== 'ready' || worker.isAdvancing();
}

/** Starts taking jobs from a queue, until {@link stopConsuming}. */
export function consume<Payload>(
  consumer: Consumer<Payload>,
  services: ConsumerServices,
): ConsumerWorker {
  const log = services.log.child({ queue: consumer.queue });
  const worker = new ConsumerWorker(
    consumer.queue,
    async (job: Job, token?: string, signal?: AbortSignal) => {
      await loggedAs({ job: job.id ?? '', ...subjectOf(job.data) }, () =>
        take(job, token, signal ?? new AbortController().signal),
      );
    },
    {
      connection: services.redis,
      prefix: services.prefix,
      concurrency: consumer.concurrency,
      lockDuration,
      stalledInterval: consumer.stalledInterval ?? defaultStalledInterval,
      maxStalledCount,
      drainDelay: 5,
      runRetryDelay: 1_000,
      metrics: { maxDataPoints: rateMinutes },
      // BullMQ takes an unknown Redis for an old one, and comes back to delayed jobs up to a second late.
      skipVersionCheck: !(services.isServerKnown ?? true),
      ...queueTelemetry(),
    },
  );

  async function take(job: Job, token: string | undefined, signal: AbortSignal): Promise<void> {
    const context: JobContext = {
      id: job.id ?? '',
      signal: AbortSignal.any([signal, services.stopping]),
      log,
    };
    let payload: Payload | undefined;
    const measure = { queue: queueLabel(consumer.queue) };
    if (job.attemptsStarted === 1) jobWait.observe(measure, (Date.now() - job.timestamp) / 1000);
    const ended = jobDuration.startTimer(measure);
    let outcome = 'delayed';
    try {
      payload = consumer.parse(job.data);
      await services.queues.add(await consumer.handle(payload, context));
      outcome = 'done';
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      if (services.stopping.aborted) await delay(job, token, 0);
      const error = isRedisError(thrown) ? refusal(thrown) : asDrayError(thrown);
      if (error.code === 'PAYLOAD_NEWER') await delay(job, token, newerPayloadDelay);
      const wait = error.context.retryAfterMs;
      const tries = { made: job.attemptsMade + 1, most: job.opts.attempts ?? jobAttempts };
      if (error.retryable && typeof wait === 'number' && payload !== undefined) {
        // A registry that refuses is news once, not for each job that it keeps waiting.
        context.log['waitsFor' in error.context ? 'debug' : 'warn']({ err: error }, 'job waits');
        await consumer.retrying?.(payload, error);
        await expect(job, true);
        await delay(job, token, wait);
      }
      if (error.retryable && tries.made < tries.most) {
        context.log.warn({ err: error, attempt: tries.made }, 'job will be retried');
        if (payload !== undefined) await consumer.retrying?.(payload, error, tries);
        outcome = 'retried';
        await expect(job, false);
        throw error;
      }
      outcome = 'failed';
      context.log.error({ err: error }, 'job failed');
      if (payload !== undefined) {
        await consumer.gaveUp(payload, error);
      }
      throw new UnrecoverableError(`${error.code}: ${error.message}`);
    } finally {
      ended({ outcome });
    }
  }

  const left = (job: Job | undefined) => {
    if (job === undefined || consumer.left === undefined) return;
    try {
      consumer.left(consumer.parse(job.data)).catch((error: unknown) => {
        log.warn({ err: error, job: job.id }, 'follow-up of a job failed; the reconciler mends it');
      });
    } catch {
      // A malformed payload has nobody waiting for it.
    }
  };
  worker.on('completed', left);
  worker.on('failed', left);
  fenceLocks(worker, lockDuration - lockMargin);
  worker.on('lockRenewalFailed', (ids: string[]) => {
    for (const id of ids) worker.cancelJob(id, 'its lock was lost');
  });
  // Each try of each connection fails in the same words while Redis is away: they are said once in a while.
  let said = { message: '', at: 0 };
  worker.on('error', (error) => {
    const now = Date.now();
    if (error.message === said.message && now - said.at < errorInterval) return;
    said = { message: error.message, at: now };
    log.warn({ err: error }, 'queue connection');
  });
  return worker;
}

/** What Redis did not do for a handler may be done a moment later: when it has memory again, or another one took over. */
function refusal(error: unknown): DrayError {
  return new DrayError('QUEUE_UNAVAILABLE', `Redis did not do its part: ${messageOf(error)}`, {
    retryable: true,
    cause: error,
    hint: 'dray doctor says what is wrong with Redis and its settings.',
  });
}

/** What a job is about, as far as its unchecked payload tells: for the log. */
function subjectOf(data: unknown): { pull?: string; digest?: string } {
  const { pull, digest } = (data ?? {}) as { pull?: unknown; digest?: unknown };
  const short = (value: unknown): value is string =>
    typeof value === 'string' && value.length < 200;
  return { ...(short(pull) ? { pull } : {}), ...(short(digest) ? { digest } : {}) };
}

async function expect(job: Job, isExpected: boolean): Promise<void> {
  const priority = asExpected(job.priority, isExpected);
  if (priority !== job.priority) await job.changePriority({ priority });
}

/** Puts a job back for later without counting a try. Never returns. */
async function delay(job: Job, token: string | undefined, ms: number): Promise<never> {
  await job.moveToDelayed(Date.now() + ms, token);
  throw new DelayedError();
}
