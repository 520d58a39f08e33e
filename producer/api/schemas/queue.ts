import { z } from 'zod';

export const queue = z
  .object({
    name: z.string(),
    jobs: z.record(z.string(), z.int().nonnegative()),
    oldestWaitingSeconds: z.number().nonnegative().optional(),
    oldestDelayedSeconds: z.number().nonnegative().optional(),
    workers: z.int().nonnegative(),
  })
  .meta({ id: 'Queue' });
