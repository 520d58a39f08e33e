import { z } from 'zod';
import { priorities } from '../../../shared/pull/priority.ts';
import { isCredentialName } from '../../../shared/registry/credential-name.ts';
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

const platformImage = z
  .object({
    platform: z.string(),
    manifest: descriptor.optional(),
    layers: z.array(digest),
    error: fault.optional().meta({ description: 'Why there is none' }),
  })
  .meta({ id: 'PlatformImage' });

const pullNode = z
  .object({
    name: z.string(),
    platform: z.string().optional().meta({
      description: 'Whose image it gets, where the pull brings more than one',
    }),
    state: z.enum(['waiting', 'unpacking', 'ready', 'failed', 'stopped']).meta({
      description: 'stopped: the pull ended before the node had',
    }),
    layers: z.array(nodeLayer),
    error: fault.optional(),
  })
  .meta({ id: 'PullNode' });

const duration = z.int().positive().max(Number.MAX_SAFE_INTEGER);

export const pace = z
  .strictObject({
    parallelism: z.int().min(1).max(1_000_000).optional().meta({
      description: 'Nodes that are under way at once. Default: all',
    }),
    canary: z.int().min(1).max(1_000_000).optional().meta({
      description: 'So many nodes come first, and must all be ready before any other begins',
    }),
    maxFailures: z.int().min(0).max(1_000_000).optional().meta({
      description: 'When more nodes than these have failed, no other begins',
    }),
    timeoutMs: duration.optional().meta({
      description: 'From its acceptance on, in which the pull must have ended',
    }),
    noProgressMs: duration.optional().meta({
      description: 'Without any progress, after which the content, or a node, is given up',
    }),
  })
  .meta({ id: 'Pace', description: 'How a pull goes over its nodes' });

const pullStates = [
  ...(['queued', 'resolving', 'fetching', 'unpacking'] as const),
  ...(['ready', 'partial', 'failed', 'cancelled'] as const),
] as const;

const count = z.int().nonnegative();
const counts = { waiting: count, unpacking: count, ready: count, failed: count, stopped: count };

/** What a pull has in a list too. */
const common = {
  id: z.string(),
  reference: z.string(),
  platform: z.string(),
  state: z.enum(pullStates).meta({
    description:
      'ready: every node can run it; partial: some can, the others failed or never began',
  }),
  priority: z.enum(priorities),
  createdAt: time,
  finishedAt: time.optional(),
  paused: z.boolean().meta({ description: 'No further node begins until it is resumed' }),
  pace,
  desired: z.string().optional().meta({ description: 'The desired set that it is for' }),
  target: descriptor.optional(),
  askedAt: time.optional().meta({
    description: 'The registry was not asked: the target is what it said then',
  }),
  manifest: descriptor.optional().meta({
    description: 'What nodes unpack; the first where the pull brings several platforms',
  }),
  images: z.array(platformImage).optional().meta({
    description: 'What there is for each platform, where the pull brings more than one',
  }),
  error: fault.optional(),
  note: z.string().optional().meta({ description: 'Why it waits, for people' }),
  warning: z.string().optional().meta({ description: 'What the registry has to say to people' }),
};

export const pull = z
  .object({
    ...common,
    blobs: z.array(blob),
    counts: z.object(counts).meta({ description: 'Nodes by state' }),
    nodes: z.array(pullNode),
  })
  .meta({ id: 'Pull' });

const pullSummary = z
  .object({
    ...common,
    blobs: z
      .object({ total: count, stored: count, bytes: count, size: count })
      .meta({ description: '`bytes` of `size` are in the store, or on their way into it' }),
    nodes: z.object({ total: count, ...counts }),
  })
  .meta({ id: 'PullSummary' });

/** What is private or not is decided by the address that a worker finds. */
const webhookUrl = z
  .url({ protocol: /^https?$/ })
  .max(2_048)
  .refine((url) => new URL(url).username === '' && new URL(url).password === '', 'it has a login');

export const pullRequest = z
  .strictObject({
    reference: z.string().min(1).max(1024),
    platform: z.string().min(1).max(1024).optional().meta({
      description:
        "One is brought to every node: linux/amd64. Several (linux/amd64,linux/arm64), or all: each node gets the image for its own. Default: each node's own; without nodes that of the API's host",
    }),
    nodes: z
      .array(z.string().min(1).max(63))
      .max(10_000)
      .optional()
      .meta({ description: 'Who shall hold the image unpacked. None: the content store only.' }),
    credential: z
      .string()
      .refine(isCredentialName, 'not the name of a credential')
      .optional()
      .meta({
        description:
          'The login that the workers use, by its name there. Default: what they have for the registry',
      }),
    selector: z.string().max(4_096).optional().meta({
      description:
        'Instead of nodes: those whose labels fulfil it now, as in zone=a,gpu!=none or zone in (a,b); empty: all that are neither lost nor cordoned',
    }),
    pace: pace.optional(),
    webhook: webhookUrl.optional().meta({
      description:
        'Told when the pull has ended: a POST, signed as Standard Webhooks has it, tried for half an hour. Put no secret into it: it is kept in Redis',
    }),
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

/** What the webhook of a pull is told; `worker/fleet/webhook` makes it. */
export const pullEnded = z
  .object({
    type: z.enum(['pull.ready', 'pull.partial', 'pull.failed', 'pull.cancelled']),
    timestamp: time.meta({ description: 'When the pull ended' }),
    data: z.object({
      ...{ id: common.id, reference: common.reference, platform: common.platform },
      ...{ state: common.state, createdAt: time, finishedAt: time.optional() },
      target: descriptor.optional().meta({ description: 'What the reference was resolved to' }),
      nodes: z.object({ total: count, ready: count, failed: count }),
      error: fault.optional(),
    }),
  })
  .meta({ id: 'PullEnded', description: 'What the webhook of a pull is told once it has ended' });
