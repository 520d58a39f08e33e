import { z } from 'zod';
import { DrayError } from '../../../shared/errors.ts';
import { nodeDisks, nodeSnapshots } from '../../../shared/node/holdings.ts';
import { isLost, listNodes } from '../../../shared/node/registry.ts';
import { type Route, route } from '../route.ts';
import { listOf } from '../schemas/common.ts';
import { node, nodeImageList } from '../schemas/node.ts';
import type { ApiServices } from '../services.ts';

const byName = z.strictObject({ node: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,62}$/, 'no node') });

/** The nodes of the fleet: list, and what each holds. */
export function nodeRoutes({
  config,
  redis,
  store,
  facts,
}: Pick<ApiServices, 'config' | 'redis' | 'store' | 'facts'>): Route[] {
  const { prefix } = config.redis;
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
        const [nodes, disks] = await Promise.all([
          listNodes(redis, prefix),
          nodeDisks(redis, prefix),
        ]);
        return {
          items: nodes.map((found) => {
            const disk = disks.get(found.name);
            const state = isLost(found, now) ? 'lost' : 'ready';
            return { ...found, state, ...(disk === undefined ? {} : { disk }) };
          }),
        };
      },
    }),
    route({
      id: 'listNodeImages',
      method: 'GET',
      path: '/v1/nodes/{node}/images',
      summary: 'List the images that a node holds unpacked: it can run them at once',
      description: 'As its agent said within the last seconds, of those that have a name.',
      scope: 'read',
      asksStore: true,
      params: byName,
      answer: { status: 200, description: 'All of them, by name', schema: nodeImageList },
      async handle({ params, signal }) {
        const nodes = await listNodes(redis, prefix);
        if (!nodes.some(({ name }) => name === params.node)) {
          throw new DrayError('NOT_FOUND', `No node "${params.node}" in the fleet`, {
            hint: 'GET /v1/nodes lists those that there are.',
          });
        }
        const held = await nodeSnapshots(redis, prefix, params.node);
        const items: { name: string; digest: string; size: number }[] = [];
        for (const image of await store.images.list({ signal })) {
          const fact = await facts.of(image, { signal });
          if (fact?.chainID === undefined || !held.has(fact.chainID)) continue;
          items.push({ name: image.name, digest: image.target.digest, size: fact.size });
        }
        return { items: items.sort((a, b) => (a.name < b.name ? -1 : 1)) };
      },
    }),
  ];
}
