import { z } from 'zod';
import { descriptorSchema, jsonForm, timeSchema } from './record-form.ts';
import type { ImageRecord } from './store.ts';

const schema = z.object({
  name: z.string().min(1),
  target: descriptorSchema,
  manifest: descriptorSchema,
  updatedAt: timeSchema,
  pulledAt: timeSchema.optional(),
  origin: z.string().optional(),
}) as unknown as z.ZodType<ImageRecord>;

/** The stored form of the name of an image. */
export const imageForm = jsonForm(schema, {
  kind: 'image record',
  hint: 'Remove it and pull the image again.',
});
