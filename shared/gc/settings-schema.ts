import { z } from 'zod';
import { durationSchema as duration } from '../duration-schema.ts';

/** The settings as a file has them. */
export const gcSchema = z.strictObject({
  interval: duration.optional(),
  grace: duration.optional(),
  retention: z
    .array(
      z.strictObject({
        images: z.string().min(1).max(512),
        unusedFor: duration.optional(),
        keep: z.int().min(0).optional(),
      }),
    )
    .optional(),
  node: z
    .strictObject({
      highWater: z.number().min(1).max(100).optional(),
      lowWater: z.number().min(0).max(100).optional(),
      unusedFor: duration.optional(),
    })
    .optional(),
});

export type GcSettings = z.infer<typeof gcSchema>;
