import { z } from 'zod';
import { priorities } from '../../shared/pull/priority.ts';

/** The nouns of the API as JSON. They follow shared/pull/status.ts and shared/content/store.ts. */

const digest = z.string().meta({ description: 'algorithm:encoded, as in sha256:…' });
const time = z.iso.datetime();

export const descriptor = z
  .looseObject({ mediaType: z.string(), digest, size: z.int().nonnegative() })
  .meta({ id: 'Descriptor' });

const fault = z
  .looseObject({
    code: z.string(),
    message: z.string(),
    retryable: z.boolean(),
    hint: z.string().optional(),
  })
  .meta({ id: 'Fault', description: 'Why something failed, with the stable code of a problem' });

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

export const pull = z
  .object({
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
    blobs: z.array(blob),
    nodes: z.array(pullNode),
    error: fault.optional(),
    note: z.string().optional(),
  })
  .meta({ id: 'Pull' });

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

export const pullList = z
  .object({
    items: z.array(pull),
    next: z.string().optional().meta({ description: 'The cursor of the next page' }),
  })
  .meta({ id: 'PullList' });

export const image = z
  .object({ name: z.string(), target: descriptor, manifest: descriptor, updatedAt: time })
  .meta({ id: 'Image' });

export const node = z
  .object({
    name: z.string(),
    state: z.enum(['ready', 'lost']),
    platform: z.string(),
    version: z.string(),
    seenAt: time,
  })
  .meta({ id: 'Node' });

export const queue = z
  .object({
    name: z.string(),
    jobs: z.record(z.string(), z.int().nonnegative()),
    oldestWaitingSeconds: z.number().nonnegative().optional(),
    workers: z.int().nonnegative(),
  })
  .meta({ id: 'Queue' });

export const problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string(),
    detail: z.string(),
    hint: z.string().optional(),
    retryable: z.boolean(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457' });

export function listOf<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item) });
}
