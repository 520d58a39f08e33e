import { z } from 'zod';
import { pagesOf, time } from './common.ts';

const count = z.int().nonnegative();
const bytes = count;

const gcItem = z
  .object({
    kind: z.enum(['image', 'blob', 'ingest', 'upload', 'set aside', 'file', 'snapshot']).meta({
      description:
        'image: a name of one; snapshot: a layer on a node; the others are of the content store',
    }),
    name: z.string(),
    bytes,
    why: z.string(),
  })
  .meta({ id: 'GcItem', description: 'What went, or would' });

const gcReport = z
  .object({
    items: z.array(gcItem),
    kept: z
      .array(z.object({ count, bytes, why: z.string() }))
      .meta({ description: 'What stays although nothing leads to it, by the reason' }),
    more: z.object({ count, bytes }).optional().meta({ description: 'Items that are not listed' }),
    problems: z.array(z.string()).meta({ description: 'Why it could not do all that it should' }),
  })
  .meta({ id: 'GcReport', description: 'What one part of the fleet did, or would do' });

const common = {
  id: z.string(),
  state: z.enum(['waiting', 'done']).meta({ description: 'done: all parts have answered' }),
  dryRun: z.boolean(),
  graceMs: count.optional(),
  createdAt: time,
  lost: z.array(z.string()).meta({ description: 'Nodes that are lost, and so were not asked' }),
};
const part = z.string().meta({ description: '`store`, or `node NAME`' });

const collectionSummary = z
  .object({
    ...common,
    parts: z.array(z.object({ part, state: z.enum(['waiting', 'done']) })),
  })
  .meta({ id: 'CollectionSummary' });

export const collectionList = pagesOf(collectionSummary).meta({ id: 'CollectionList' });

export const collection = z
  .object({
    ...common,
    parts: z.array(
      z.object({
        part,
        report: gcReport.optional().meta({ description: 'Once it has answered' }),
      }),
    ),
  })
  .meta({ id: 'Collection', description: 'A collection of garbage that somebody asked for' });

export const gcRequest = z
  .strictObject({
    dryRun: z
      .boolean()
      .optional()
      .meta({ description: 'Nothing goes: it is only said what would' }),
    graceMs: z.int().nonnegative().max(Number.MAX_SAFE_INTEGER).optional().meta({
      description:
        'For how long what nobody needs stays. Default: what each part is configured to. What is in use never goes',
    }),
    nodes: z.array(z.string().min(1).max(63)).max(10_000).optional().meta({
      description: 'Only these nodes. Default: all that are heard of',
    }),
    store: z.boolean().optional().meta({
      description: 'The content store. Default: only where no nodes are named. Alone: no node',
    }),
  })
  .meta({ id: 'GcRequest' });
