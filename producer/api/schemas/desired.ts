import { z } from 'zod';
import { priorities } from '../../../shared/pull/priority.ts';
import { descriptor, time } from './common.ts';
import { pace } from './pull.ts';

const count = z.int().nonnegative();
const version = z.object({
  target: descriptor,
  manifest: descriptor,
  images: z
    .array(z.object({ platform: z.string(), manifest: descriptor }))
    .optional()
    .meta({ description: 'Of several platforms those that there are' }),
  since: time,
});
const retention = z.object({
  previous: count.meta({ description: 'Versions before the current one that are kept, too' }),
  until: time.optional().meta({ description: 'When the set ends by itself' }),
});
const schedule = z.string().min(1).max(200).meta({
  description:
    'When the tag is looked at again: a duration, as in 6h, or a cron expression in UTC. What is new is rolled out. None: never',
});
const selector = z.string().max(4_096).meta({
  description: 'The nodes, as in zone=a,gpu!=none or name in (node-a,node-b); empty: all',
});

export const desiredSet = z
  .object({
    name: z.string(),
    reference: z.string(),
    platform: z.string(),
    selector,
    retention,
    pace,
    priority: z.enum(priorities),
    credential: z.string().optional(),
    schedule: schedule.optional(),
    createdAt: time,
    current: version
      .optional()
      .meta({ description: 'What nodes shall hold; none until it is known' }),
    previous: z.array(version),
    nodes: z.object({ total: count, ready: count }).meta({
      description: 'Those that match and are neither lost nor cordoned, and those that hold it',
    }),
    lookedAt: time.optional(),
    nextLook: time.optional(),
  })
  .meta({ id: 'DesiredSet', description: 'An image that nodes shall hold from now on' });

export const desiredRequest = z
  .strictObject({
    reference: z.string().min(1).max(1024),
    platform: z.string().min(1).max(1024).optional().meta({
      description:
        'Of which nodes are members: linux/amd64, or several, linux/amd64,linux/arm64. Each gets the image for its own. Default: those of the nodes that match now',
    }),
    selector,
    pace: pace.optional(),
    priority: z.enum(priorities).optional(),
    credential: z.string().optional(),
    schedule: schedule.optional(),
    retention: z.strictObject({ previous: count.optional(), until: time.optional() }).optional(),
  })
  .meta({ id: 'DesiredRequest' });

export const keptImage = z
  .object({ set: desiredSet, pull: z.string().meta({ description: 'The id of the pull' }) })
  .meta({ id: 'KeptImage' });
