import { isLost, listNodes } from '../../shared/node/registry.ts';
import { queueStates } from '../../shared/queue/states.ts';
import { type Route, route } from './routes.ts';
import { image, listOf, node, queue } from './schemas.ts';
import type { ApiServices } from './server.ts';

/** What there is: images, nodes, queues. */
export function viewRoutes(services: ApiServices): Route[] {
  const { config, redis, store, queues } = services;
  const { prefix } = config.redis;
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
    route({
      id: 'listNodes',
      method: 'GET',
      path: '/v1/nodes',
      summary: 'List the nodes of the fleet',
      scope: 'read',
      answer: { status: 200, description: 'All of them', schema: listOf(node) },
      async handle() {
        const now = new Date();
        const nodes = await listNodes(redis, prefix);
        return {
          items: nodes.map((found) => ({ ...found, state: isLost(found, now) ? 'lost' : 'ready' })),
        };
      },
    }),
    route({
      id: 'listQueues',
      method: 'GET',
      path: '/v1/queues',
      summary: 'Jobs of each queue by state, the age of the oldest that waits, and who takes them',
      scope: 'read',
      answer: { status: 200, description: 'All of them', schema: listOf(queue) },
      async handle() {
        const nodes = await listNodes(redis, prefix);
        return { items: await queueStates(queues, nodes) };
      },
    }),
  ];
}
