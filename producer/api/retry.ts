import { createHash } from 'node:crypto';
import { DrayError } from '../../shared/errors.ts';
import { enqueuePull } from '../../shared/pull/accept.ts';
import type { PullRecord } from '../../shared/pull/record.ts';
import { isFinished } from '../../shared/pull/status.ts';
import { failedJob, findFailed } from '../../shared/queue/failed.ts';
import { webhookQueue } from '../../shared/queue/names.ts';
import type { ApiServices } from './services.ts';

type RetryServices = Pick<ApiServices, 'config' | 'redis' | 'records' | 'queues'>;

/** Pulls among which those are looked for that a blob failed: the latest. */
const recentPulls = 2_000;

/**
 * Pulls anew what a pull that has ended was for, on the nodes that did not get ready. Doing so twice is one new pull.
 * @returns its id
 * @throws CONFLICT when the pull is ready or not at its end
 */
export async function pullAgain(
  record: PullRecord,
  { config, redis, records, queues }: RetryServices,
  options: { signal: AbortSignal },
): Promise<string> {
  const { id, state, reference, platform, credential, want, priority, policy, pace } = record;
  if (state !== 'failed' && state !== 'partial' && state !== 'cancelled') {
    throw new DrayError('CONFLICT', `The pull ${id} is ${state}: it has not failed`, {
      hint: isFinished(state) ? 'Create a new pull.' : 'Wait for its end, or cancel it.',
    });
  }
  const nodes = await records.nodes.unready(record);
  const request = {
    ...{ reference, platform, nodes, want, priority, policy, pace },
    ...(credential === undefined ? {} : { credential }),
    ...(record.webhook === undefined ? {} : { webhook: record.webhook }),
  };
  const key = createHash('sha256').update(`again\0${id}`).digest('hex');
  return await enqueuePull(config, redis, request, {
    ...options,
    queues,
    idempotency: { key, request: id },
  });
}

/**
 * Does again what a failed job was for: a pull that ended with it is pulled anew; where none did, the job itself is
 * queued again.
 * @returns the ids of the new pulls
 * @throws NOT_FOUND, CONFLICT when the job has not failed
 */
export async function retryJob(
  name: string,
  id: string,
  services: RetryServices,
  options: { signal: AbortSignal },
): Promise<string[]> {
  const job = await findFailed(services.queues.queue(name), id);
  const failed = (await pullsOf(failedJob(job), services)).filter(
    ({ state }) => state === 'failed' || state === 'partial',
  );
  if (failed.length === 0 || name === webhookQueue) {
    await job.retry('failed');
    return [];
  }
  const pulls = await Promise.all(failed.map((record) => pullAgain(record, services, options)));
  await job.remove();
  return pulls;
}

async function pullsOf(
  { pull, digest }: { pull?: string; digest?: string },
  { records }: RetryServices,
): Promise<PullRecord[]> {
  const ids =
    pull !== undefined ? [pull] : digest === undefined ? [] : await records.recent(recentPulls);
  const found = (await Promise.all(ids.map((id) => records.get(id)))).filter(
    (record) => record !== undefined,
  );
  return pull !== undefined
    ? found
    : found.filter(({ error }) => error?.context?.digest === digest);
}
