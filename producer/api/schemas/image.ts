import { z } from 'zod';
import { descriptor, time } from './common.ts';

export const image = z
  .object({ name: z.string(), target: descriptor, manifest: descriptor, updatedAt: time })
  .meta({ id: 'Image' });
