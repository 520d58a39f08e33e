import { parseDuration } from '../duration.ts';
import { DrayError } from '../errors.ts';
import type { RetentionRule } from './retention.ts';
import type { GcSettings } from './settings-schema.ts';

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

/** @throws USAGE */
export function gcConfig(settings: GcSettings = {}): GcConfig {
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
