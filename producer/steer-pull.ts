import { DrayError } from '../shared/errors.ts';
import { PullRecords } from '../shared/pull/records.ts';
import { isFinished, type PullState } from '../shared/pull/status.ts';
import type { Redis } from '../shared/queue/connection.ts';

export type Steering = 'pause' | 'resume' | 'cancel';

const participles = { pause: 'paused', resume: 'resumed', cancel: 'cancelled' } as const;

/**
 * Pauses a pull (no further node begins), resumes it, or cancels it. Doing so twice changes nothing.
 * @throws NOT_FOUND, CONFLICT for a pull that has ended
 */
export async function steerPull(
  redis: Redis,
  prefix: string,
  id: string,
  steering: Steering,
): Promise<void> {
  const records = new PullRecords(redis, prefix);
  const state = await records[steering](id);
  if (state === undefined) {
    throw new DrayError('NOT_FOUND', `There is no pull ${id}`, {
      hint: 'Finished pulls are kept for seven days. dray pulls lists those that there are.',
    });
  }
  checkState(id, state, steering);
}

function checkState(id: string, state: PullState, steering: Steering): void {
  if (!isFinished(state) || (steering === 'cancel' && state === 'cancelled')) return;
  throw new DrayError(
    'CONFLICT',
    `The pull ${id} can't be ${participles[steering]}: it is ${state} already`,
  );
}
