import { z } from 'zod';
import { selectableLabels } from '../../../shared/node/labels.ts';
import { imagesOfNodes } from '../../../shared/node/node-images.ts';
import { getNode, listNodes, markNode, type NodeMark } from '../../../shared/node/registry.ts';
import { matches, parseSelector } from '../../../shared/node/selector.ts';
import { drainNode, forgetNode, stopContainers } from '../../drain-node.ts';
import { askAgent } from '../agents.ts';
import { requireToken } from '../authorize.ts';
import { type Route, route } from '../route.ts';
import { listOf } from '../schemas/common.ts';
import { drainRequest, node, nodeDetail, nodeImageList, nodeName } from '../schemas/node.ts';
import type { ApiServices } from '../services.ts';

const byName = z.strictObject({ name: nodeName });
const chosen = z.strictObject({
  selector: z
    .string()
    .max(4_096)
    .optional()
    .meta({ description: 'Only nodes whose labels fulfil it, as in zone=a,gpu!=none' }),
});

/** The nodes of the fleet: list, get, cordon, uncordon, drain, remove. */
export function nodeRoutes(
  services: Pick<ApiServices, 'config' | 'redis' | 'store' | 'facts'>,
): Route[] {
  const { config, redis, store, facts } = services;
  const { prefix } = config.redis;
  const marking = (verb: string, summary: string, mark: NodeMark | undefined) =>
    route({
      id: `${verb}Node`,
      method: 'POST',
      path: `/v1/nodes/{name}/${verb}`,
      summary,
      scope: 'admin',
      params: byName,
      answer: { status: 200, description: 'The node', schema: node },
      async handle({ params: { name } }) {
        await markNode(redis, prefix, name, mark);
        return await getNode(redis, prefix, name);
      },
    });
  return [
    route({
      id: 'listNodes',
      method: 'GET',
      path: '/v1/nodes',
      summary: 'List the nodes of the fleet',
      scope: 'read',
      query: chosen,
      answer: { status: 200, description: 'All of them', schema: listOf(node) },
      async handle({ query: { selector = '' } }) {
        const conditions = parseSelector(selector);
        const nodes = await listNodes(redis, prefix);
        return { items: nodes.filter((each) => matches(conditions, selectableLabels(each))) };
      },
    }),
    route({
      id: 'getNode',
      method: 'GET',
      path: '/v1/nodes/{name}',
      summary: 'Get a node, and what it holds',
      scope: 'read',
      params: byName,
      answer: { status: 200, description: 'The node', schema: nodeDetail },
      async handle({ params: { name } }) {
        const found = await getNode(redis, prefix, name);
        const held = await imagesOfNodes(redis, prefix, [name]);
        return { ...found, holds: held.get(name) ?? [] };
      },
    }),
    marking('cordon', 'Give a node nothing new; what is under way there goes on', 'cordoned'),
    marking('uncordon', 'Have a node take work again', undefined),
    route({
      id: 'drainNode',
      method: 'POST',
      path: '/v1/nodes/{name}/drain',
      summary: 'Give a node nothing new, and take from it what pulls still want of it',
      description:
        'Its containers run on, since nothing would start them elsewhere, unless they are to be stopped too: that needs a token. An answer TIMEOUT says that some still have time left to end: ask again.',
      scope: 'admin',
      asksAgent: true,
      params: byName,
      body: drainRequest,
      answer: { status: 200, description: 'The node', schema: node },
      async handle({ params: { name }, body, request, signal }) {
        const stops = body.stopContainers === true;
        if (stops) requireToken(request, 'admin');
        await drainNode(redis, prefix, name);
        if (stops) await askAgent(services, name, (agent) => stopContainers(agent, { signal }));
        return await getNode(redis, prefix, name);
      },
    }),
    route({
      id: 'removeNode',
      method: 'DELETE',
      path: '/v1/nodes/{name}',
      summary: 'Forget a node that is lost',
      scope: 'admin',
      params: byName,
      answer: { status: 204, description: 'It is forgotten' },
      async handle({ params: { name } }) {
        await forgetNode(redis, prefix, name);
      },
    }),
    route({
      id: 'listNodeImages',
      method: 'GET',
      path: '/v1/nodes/{name}/images',
      summary: 'List the images that a node holds unpacked: it can run them at once',
      description: 'As its agent said within the last seconds, of those that have a name.',
      scope: 'read',
      asksStore: true,
      params: byName,
      answer: { status: 200, description: 'All of them, by name', schema: nodeImageList },
      async handle({ params: { name }, signal }) {
        await getNode(redis, prefix, name);
        const held = new Set((await imagesOfNodes(redis, prefix, [name])).get(name));
        const items: { name: string; digest: string; size?: number }[] = [];
        for (const image of await store.images.list({ signal })) {
          const own = await facts.heldOf(image, held, { signal });
          if (own === undefined) continue;
          const size = (await facts.of(own, { signal }))?.size;
          const of = { name: image.name, digest: image.target.digest };
          items.push({ ...of, ...(size === undefined ? {} : { size }) });
        }
        return { items: items.sort((a, b) => (a.name < b.name ? -1 : 1)) };
      },
    }),
  ];
}
