import { isLost, listNodes } from '../../../shared/node/registry.ts';
import { type Route, route } from '../route.ts';
import { listOf } from '../schemas/common.ts';
import { node } from '../schemas/node.ts';
import type { ApiServices } from '../services.ts';

/** The nodes of the fleet: list. */
export function nodeRoutes({ config, redis }: Pick<ApiServices, 'config' | 'redis'>): Route[] {
  return [
    route({
      id: 'listNodes',
      method: 'GET',
      path: '/v1/nodes',
      summary: 'List the nodes of the fleet',
      scope: 'read',
      answer: { status: 200, description: 'All of them', schema: listOf(node) },
      async handle() {
        const now = new Date();
        const nodes = await listNodes(redis, config.redis.prefix);
        return {
          items: nodes.map((found) => ({ ...found, state: isLost(found, now) ? 'lost' : 'ready' })),
        };
      },
    }),
  ];
}
