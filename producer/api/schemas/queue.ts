import { z } from 'zod';

const minutes = z.array(z.int().nonnegative());

export const queue = z
  .object({
    name: z.string(),
    jobs: z.record(z.string(), z.int().nonnegative()),
    oldestWaitingSeconds: z.number().nonnegative().optional(),
    oldestDelayedSeconds: z.number().nonnegative().optional(),
    workers: z.int().nonnegative(),
    rate: z
      .object({ completed: minutes, failed: minutes })
      .meta({ description: 'Jobs that ended in each of the last 60 minutes, the oldest first' }),
  })
  .meta({ id: 'Queue' });
