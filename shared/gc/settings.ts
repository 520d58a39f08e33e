import { z } from 'zod';
import { parseDuration } from '../duration.ts';
import { durationSchema as duration } from '../duration-schema.ts';
import { DrayError } from '../errors.ts';
import type { RetentionRule } from './retention.ts';

export interface GcConfig {
  /** Milliseconds between two collections. */
  intervalMs: number;
  /** Milliseconds for which what nobody needs stays. */
  graceMs: number;
  /** Which names of images go by themselves. */
  retention: RetentionRule[];
  node: {
    /** Per cent of a node's disk that are used: above the first, images go until the second is reached. */
    highWater: number;
    lowWater: number;
    /** Milliseconds after which an image that no container uses leaves its node; undefined: never for that alone. */
    unusedForMs: number | undefined;
  };
}

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

/** @throws USAGE */
export function gcConfig(settings: z.infer<typeof gcSchema> = {}): GcConfig {
  const { interval, grace, retention = [], node = {} } = settings;
  const { highWater = 85, lowWater = Math.min(70, highWater), unusedFor } = node;
  if (lowWater > highWater) {
    throw new DrayError('USAGE', 'gc.node.lowWater is above gc.node.highWater', {
      hint: 'A collection that begins at 85 % ends at 70 %, for example.',
    });
  }
  const ms = (text: string | undefined) => (text === undefined ? undefined : parseDuration(text));
  return {
    intervalMs: ms(interval) ?? 3_600_000,
    graceMs: ms(grace) ?? 86_400_000,
    retention: retention.map(({ images, unusedFor, keep = 0 }) => ({
      ...{ images, keep, unusedForMs: ms(unusedFor) ?? 0 },
    })),
    node: { highWater, lowWater, unusedForMs: ms(unusedFor) },
  };
}
