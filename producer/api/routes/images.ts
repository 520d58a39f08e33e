import { z } from 'zod';
import type { ImageRecord } from '../../../shared/content/store.ts';
import { formatReference, parseReference } from '../../../shared/image/reference.ts';
import { imageUnknown, nameImage } from '../../image-names.ts';
import { cutPage, pageOf } from '../paging.ts';
import { type Route, route } from '../route.ts';
import { image, imageList, imageName } from '../schemas/image.ts';
import type { ApiServices } from '../services.ts';

const reference = z.string().min(1).max(1024);
const page = pageOf(reference, { most: 1000, usual: 100 }).extend({
  name: reference.optional().meta({ description: 'Only the image of this name' }),
});
const named = z.strictObject({ name: reference });

/** The names of images: list, add, remove. */
export function imageRoutes({ store, facts }: Pick<ApiServices, 'store' | 'facts'>): Route[] {
  const described = async (record: ImageRecord, options: { signal: AbortSignal }) => {
    const fact = await facts.of(record, options);
    return fact === undefined ? record : { ...record, size: fact.size };
  };
  return [
    route({
      id: 'listImages',
      method: 'GET',
      path: '/v1/images',
      summary: 'List the names of images whose content is in the store',
      scope: 'read',
      asksStore: true,
      query: page,
      answer: { status: 200, description: 'One page, by name', schema: imageList },
      async handle({ query: { limit, cursor, name }, signal }) {
        const records =
          name === undefined
            ? await store.images.list({ signal })
            : [await store.images.get(fullName(name), { signal })].filter((r) => r !== undefined);
        const { items, next } = cutPage(
          records
            .filter((record) => cursor === undefined || record.name > cursor)
            .sort((a, b) => (a.name < b.name ? -1 : 1)),
          limit,
          (record) => record.name,
        );
        const images = await Promise.all(items.map((record) => described(record, { signal })));
        return next === undefined ? { items: images } : { items: images, next };
      },
    }),
    route({
      id: 'nameImage',
      method: 'POST',
      path: '/v1/images',
      summary: 'Give an image one more name',
      description: 'A name that is there already is moved.',
      scope: 'admin',
      asksStore: true,
      body: imageName,
      answer: { status: 201, description: 'The image under its new name', schema: image },
      async handle({ body, signal }) {
        const name = await nameImage(store.images, body.image, body.name, { signal });
        const record = await store.images.get(name, { signal });
        if (record === undefined) throw imageUnknown(name);
        return await described(record, { signal });
      },
    }),
    route({
      id: 'removeImage',
      method: 'DELETE',
      path: '/v1/images',
      summary: 'Remove the name of an image',
      description: 'Content and snapshots stay, until they are collected.',
      scope: 'admin',
      asksStore: true,
      query: named,
      answer: { status: 204, description: 'It is gone' },
      async handle({ query, signal }) {
        const name = fullName(query.name);
        if (!(await store.images.remove(name, { signal }))) throw imageUnknown(name);
      },
    }),
  ];
}

function fullName(name: string): string {
  return formatReference(parseReference(name));
}
