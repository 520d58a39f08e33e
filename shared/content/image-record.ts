import { z } from 'zod';
import { descriptorSchema, jsonForm, timeSchema } from './record-form.ts';
import type { ImageRecord } from './store.ts';

const schema: z.ZodType<ImageRecord> = z
  .looseObject({
    name: z.string().min(1),
    target: descriptorSchema,
    manifest: descriptorSchema,
    updatedAt: timeSchema,
  })
  .transform(({ name, target, manifest, updatedAt }) => ({ name, target, manifest, updatedAt }));

/** The stored form of the name of an image. */
export const imageForm = jsonForm(schema, {
  kind: 'image record',
  hint: 'Remove it and pull the image again.',
});
