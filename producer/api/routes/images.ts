import { type Route, route } from '../route.ts';
import { listOf } from '../schemas/common.ts';
import { image } from '../schemas/image.ts';
import type { ApiServices } from '../services.ts';

/** The names of images: list. */
export function imageRoutes({ store }: Pick<ApiServices, 'store'>): Route[] {
  return [
    route({
      id: 'listImages',
      method: 'GET',
      path: '/v1/images',
      summary: 'List the names of images whose content is in the store',
      scope: 'read',
      answer: { status: 200, description: 'All of them', schema: listOf(image) },
      handle: async ({ signal }) => ({ items: await store.images.list({ signal }) }),
    }),
  ];
}
