import { z } from 'zod';
import { descriptor, pagesOf, time } from './common.ts';

export const image = z
  .object({
    name: z.string(),
    target: descriptor,
    manifest: descriptor,
    updatedAt: time,
    size: z.int().nonnegative().optional().meta({
      description:
        'Bytes of index, manifest, config and layers in the store. Missing where the manifest can not be read.',
    }),
  })
  .meta({ id: 'Image' });

export const imageList = pagesOf(image).meta({ id: 'ImageList' });

export const imageName = z
  .strictObject({
    name: z.string().min(1).max(1024).meta({ description: 'The new name: a reference with a tag' }),
    image: z
      .string()
      .min(1)
      .max(1024)
      .meta({ description: 'A name that there is, or the digest of an index or manifest' }),
  })
  .meta({ id: 'ImageName' });
