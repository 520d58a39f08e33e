import { z } from 'zod';
import { DrayError } from '../../../shared/errors.ts';
import { listNodes } from '../../../shared/node/registry.ts';
import { findFailed, listFailed } from '../../../shared/queue/failed.ts';
import { isQueueName } from '../../../shared/queue/names.ts';
import { rateOf } from '../../../shared/queue/rates.ts';
import { queueStates } from '../../../shared/queue/states.ts';
import { cutPage, pageOf } from '../paging.ts';
import { remembered } from '../remembered.ts';
import { retryJob } from '../retry.ts';
import { type Route, route } from '../route.ts';
import { listOf } from '../schemas/common.ts';
import { failedJobList, retried } from '../schemas/failed-job.ts';
import { queue } from '../schemas/queue.ts';
import type { ApiServices } from '../services.ts';

const name = z
  .string()
  .refine(isQueueName, 'no queue: GET /v1/queues lists them')
  .meta({ description: 'As GET /v1/queues lists it' });
const jobId = z.string().regex(/^[\w.-]{1,255}$/, 'not the id of a job');
const byName = z.strictObject({ queue: name });
const byJob = z.strictObject({ queue: name, job: jobId });
const page = pageOf(jobId, { most: 200, usual: 50 });

/** Milliseconds for which all that ask get the same look at the queues. */
const lookInterval = 1_000;

/** The queues: list; and their failed jobs: list, retry, remove. */
export function queueRoutes(
  services: Pick<ApiServices, 'config' | 'redis' | 'queues' | 'records'>,
): Route[] {
  const { config, redis, queues } = services;
  const look = remembered(lookInterval, async () => {
    const nodes = await listNodes(redis, config.redis.prefix);
    const states = await queueStates(queues, nodes);
    const rates = states.map(({ name }) => rateOf(queues.queue(name)));
    return (await Promise.all(rates)).map((rate, i) => ({ ...states[i], rate }));
  });
  return [
    route({
      id: 'listQueues',
      method: 'GET',
      path: '/v1/queues',
      summary: 'Jobs of each queue by state, the age of the oldest that waits, and who takes them',
      scope: 'read',
      answer: { status: 200, description: 'All of them', schema: listOf(queue) },
      handle: async () => ({ items: await look() }),
    }),
    route({
      id: 'listFailedJobs',
      method: 'GET',
      path: '/v1/queues/{queue}/failed',
      summary: 'List the failed jobs of a queue, the latest first',
      scope: 'read',
      params: byName,
      query: page,
      answer: { status: 200, description: 'One page', schema: failedJobList },
      async handle({ params, query: { limit, cursor } }) {
        const jobs = await listFailed(redis, queues.queue(params.queue), {
          limit: limit + 1,
          ...(cursor === undefined ? {} : { before: cursor }),
        });
        return cutPage(jobs, limit, ({ id }) => id);
      },
    }),
    route({
      id: 'retryJob',
      method: 'POST',
      path: '/v1/queues/{queue}/failed/{job}/retry',
      summary: 'Do again what a failed job was for',
      description:
        'The pulls that ended with it are pulled anew, and the job is removed; where there are none, the job itself is queued again.',
      scope: 'admin',
      params: byJob,
      answer: { status: 202, description: 'Accepted', schema: retried },
      handle: async ({ params, signal }) => ({
        pulls: await retryJob(params.queue, params.job, services, { signal }),
      }),
    }),
    route({
      id: 'removeJob',
      method: 'DELETE',
      path: '/v1/queues/{queue}/failed/{job}',
      summary: 'Remove a failed job',
      scope: 'admin',
      params: byJob,
      answer: { status: 204, description: 'It is gone' },
      async handle({ params }) {
        const job = await findFailed(queues.queue(params.queue), params.job);
        // Somebody else may retry it at the same time.
        await job.remove().catch((error: unknown) => {
          throw new DrayError('CONFLICT', `The job ${params.job} can't be removed`, {
            cause: error,
            hint: 'It was retried meanwhile. Look again.',
          });
        });
      },
    }),
  ];
}
