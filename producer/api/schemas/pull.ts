import { z } from 'zod';
import { priorities } from '../../../shared/pull/priority.ts';
import { descriptor, digest, fault, pagesOf, time } from './common.ts';

const blob = z
  .object({
    descriptor,
    kind: z.enum(['index', 'manifest', 'config', 'layer', 'object']),
    state: z.enum(['waiting', 'fetching', 'stored', 'failed']),
    bytes: z.int().nonnegative(),
    existed: z.boolean(),
    error: fault.optional(),
  })
  .meta({ id: 'PullBlob' });

const nodeLayer = z
  .object({
    digest,
    state: z.enum(['waiting', 'unpacking', 'done', 'failed']),
    bytes: z.int().nonnegative(),
    existed: z.boolean(),
  })
  .meta({ id: 'PullNodeLayer' });

const pullNode = z
  .object({
    name: z.string(),
    state: z.enum(['waiting', 'unpacking', 'ready', 'failed']),
    layers: z.array(nodeLayer),
    error: fault.optional(),
  })
  .meta({ id: 'PullNode' });

/** What a pull has in a list too. */
const common = {
  id: z.string(),
  reference: z.string(),
  platform: z.string(),
  state: z
    .enum(['queued', 'resolving', 'fetching', 'unpacking', 'ready', 'failed', 'cancelled'])
    .meta({ description: 'ready: every node can run it' }),
  priority: z.enum(priorities),
  createdAt: time,
  finishedAt: time.optional(),
  target: descriptor.optional(),
  askedAt: time.optional().meta({
    description: 'The registry was not asked: the target is what it said then',
  }),
  manifest: descriptor.optional(),
  error: fault.optional(),
  note: z.string().optional().meta({ description: 'Why it waits, for people' }),
};

export const pull = z
  .object({ ...common, blobs: z.array(blob), nodes: z.array(pullNode) })
  .meta({ id: 'Pull' });

const count = z.int().nonnegative();

export const pullSummary = z
  .object({
    ...common,
    blobs: z
      .object({ total: count, stored: count, bytes: count, size: count })
      .meta({ description: '`bytes` of `size` are in the store, or on their way into it' }),
    nodes: z.object({ total: count, unpacking: count, ready: count, failed: count }),
  })
  .meta({ id: 'PullSummary' });

export const pullRequest = z
  .strictObject({
    reference: z.string().min(1).max(1024),
    platform: z.string().min(1).max(100).optional(),
    nodes: z
      .array(z.string().min(1).max(63))
      .max(10_000)
      .optional()
      .meta({ description: 'Who shall hold the image unpacked. None: the content store only.' }),
    priority: z.enum(priorities).optional().meta({
      description: 'low: for bulk pre-pulls; high: somebody waits for it. Default: normal',
    }),
    policy: z
      .string()
      .regex(/^(always|missing|if-stale=[1-9][0-9]{0,5}[smhd])$/)
      .optional()
      .meta({
        description:
          'When the registry is asked for a tag that the store has: always (the default), missing (never) or if-stale=DURATION, as in if-stale=12h',
      }),
  })
  .meta({ id: 'PullRequest' });

export const pullList = pagesOf(pullSummary).meta({ id: 'PullList' });
