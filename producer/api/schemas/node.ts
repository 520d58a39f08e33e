import { z } from 'zod';
import { time } from './common.ts';

export const node = z
  .object({
    name: z.string(),
    state: z.enum(['ready', 'lost']),
    platform: z.string(),
    version: z.string(),
    seenAt: time,
  })
  .meta({ id: 'Node' });
