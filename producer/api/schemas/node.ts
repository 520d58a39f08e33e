import { z } from 'zod';
import { digest, listOf, time } from './common.ts';

const count = z.int().nonnegative();

export const node = z
  .object({
    name: z.string(),
    state: z.enum(['ready', 'lost']),
    platform: z.string(),
    version: z.string(),
    seenAt: time,
    disk: z
      .object({ snapshots: count, bytes: count, diskSize: count, diskFree: count })
      .optional()
      .meta({
        description: 'Committed snapshots, the bytes that they take, and those of the disk',
      }),
  })
  .meta({ id: 'Node' });

export const nodeImage = z
  .object({
    name: z.string(),
    digest,
    size: count.optional().meta({ description: 'Bytes in the content store' }),
  })
  .meta({ id: 'NodeImage', description: 'An image that a node can run' });

export const nodeImageList = listOf(nodeImage).meta({ id: 'NodeImageList' });
