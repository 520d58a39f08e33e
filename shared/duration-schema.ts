import { z } from 'zod';
import { parseDuration } from './duration.ts';

/** A duration in a setting, as {@link parseDuration} reads it. */
export const durationSchema = z
  .string()
  .refine((text) => parseDuration(text) !== undefined, 'a duration, as in 30m, 12h or 7d');
