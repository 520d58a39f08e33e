import { z } from 'zod';
import { digest, pagesOf, time } from './common.ts';

export const failedJob = z
  .object({
    id: z.string(),
    code: z.string().meta({ description: 'The stable code of what went wrong' }),
    reason: z.string(),
    attempts: z.int().nonnegative(),
    addedAt: time,
    failedAt: time,
    pull: z.string().optional().meta({ description: 'The pull that it was for' }),
    digest: digest.optional(),
  })
  .meta({ id: 'FailedJob' });

export const failedJobList = pagesOf(failedJob).meta({ id: 'FailedJobList' });

export const retried = z
  .object({
    pulls: z.array(z.string()).meta({
      description:
        'The new pulls, in place of those that the job failed. None: the job itself is queued again.',
    }),
  })
  .meta({ id: 'Retried' });
