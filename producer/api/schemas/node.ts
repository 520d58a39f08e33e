import { z } from 'zod';
import { digest, listOf, time } from './common.ts';

export const nodeName = z.string().regex(/^[a-z0-9.-]{1,63}$/, 'not the name of a node');

const count = z.int().nonnegative();

export const node = z
  .object({
    name: z.string(),
    state: z.enum(['ready', 'lost']).meta({
      description: 'lost: its agent was not heard of for 30 s',
    }),
    mark: z.enum(['cordoned', 'drained']).optional().meta({ description: 'It gets nothing new' }),
    platform: z.string(),
    version: z.string(),
    labels: z.record(z.string(), z.string()),
    capacity: z.object({ cpus: count, memoryBytes: count }),
    images: count.meta({ description: 'Images that it holds, ready to run' }),
    containers: count.meta({ description: 'Containers that run' }),
    problems: z.array(z.string()).meta({ description: 'What is not well with it, for people' }),
    seenAt: time,
    disk: z.object({ snapshots: count, bytes: count, diskSize: count, diskFree: count }).meta({
      description: 'Committed snapshots, the bytes that they take, and those of the disk',
    }),
  })
  .meta({ id: 'Node' });

const nodeImage = z
  .object({
    name: z.string(),
    digest,
    size: count.optional().meta({ description: 'Bytes in the content store' }),
  })
  .meta({ id: 'NodeImage', description: 'An image that a node can run' });

export const nodeImageList = listOf(nodeImage).meta({ id: 'NodeImageList' });

export const nodeDetail = node
  .extend({ holds: z.array(digest).meta({ description: 'The manifests of the images' }) })
  .meta({ id: 'NodeDetail' });

export const drainRequest = z
  .strictObject({
    stopContainers: z.boolean().optional().meta({
      description: 'Its containers end too, each within its own time. Default: they run on',
    }),
  })
  .meta({ id: 'DrainRequest' });
