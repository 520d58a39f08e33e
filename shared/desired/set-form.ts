import { z } from 'zod';
import { descriptorSchema, jsonForm, timeSchema } from '../content/record-form.ts';
import { paceSchema } from '../pull/pace.ts';
import { priorities } from '../pull/priority.ts';
import type { DesiredSet } from './desired-set.ts';

const versionSchema = z.object({
  target: descriptorSchema,
  manifest: descriptorSchema,
  images: z.array(z.object({ platform: z.string(), manifest: descriptorSchema })).optional(),
  since: timeSchema,
});

/** Reads a set from JSON, of the content store or of Redis. What it does not know is of a newer version, and left out. */
const schema = z.object({
  name: z.string().min(1),
  reference: z.string().min(1),
  platform: z.string().min(1),
  selector: z.string(),
  retention: z.object({ previous: z.int().min(0), until: timeSchema.optional() }),
  pace: paceSchema,
  priority: z.enum(priorities),
  credential: z.string().optional(),
  schedule: z.string().optional(),
  createdAt: timeSchema,
  current: versionSchema.optional(),
  previous: z.array(versionSchema),
});

/** The stored form of a desired set. */
export const desiredSetForm = jsonForm(schema as unknown as z.ZodType<DesiredSet>, {
  kind: 'record of a desired set',
  hint: 'Remove it, and make the set anew: dray pull --keep',
});
