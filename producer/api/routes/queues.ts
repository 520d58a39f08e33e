import { listNodes } from '../../../shared/node/registry.ts';
import { queueStates } from '../../../shared/queue/states.ts';
import { type Route, route } from '../route.ts';
import { listOf } from '../schemas/common.ts';
import { queue } from '../schemas/queue.ts';
import type { ApiServices } from '../services.ts';

/** The queues: list. */
export function queueRoutes({
  config,
  redis,
  queues,
}: Pick<ApiServices, 'config' | 'redis' | 'queues'>): Route[] {
  return [
    route({
      id: 'listQueues',
      method: 'GET',
      path: '/v1/queues',
      summary: 'Jobs of each queue by state, the age of the oldest that waits, and who takes them',
      scope: 'read',
      answer: { status: 200, description: 'All of them', schema: listOf(queue) },
      async handle() {
        const nodes = await listNodes(redis, config.redis.prefix);
        return { items: await queueStates(queues, nodes) };
      },
    }),
  ];
}
