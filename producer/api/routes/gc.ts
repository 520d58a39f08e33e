import { z } from 'zod';
import { type GcRequest, GcRequests, partsOf } from '../../../shared/gc/requests.ts';
import { gcUnknown, requestGc } from '../../gc.ts';
import { idempotentRequest } from '../idempotency.ts';
import { cutPage, pageOf } from '../paging.ts';
import { type Route, route } from '../route.ts';
import { collection, collectionList, gcRequest } from '../schemas/gc.ts';
import type { ApiServices } from '../services.ts';

const byId = z.strictObject({
  id: z.string().regex(/^[0-9a-z]{8,40}$/, 'not the id of a collection'),
});
const page = pageOf(byId.shape.id, { most: 200, usual: 50 });

/** Collections of garbage: create, get, list. */
export function gcRoutes({
  config,
  redis,
  queues,
}: Pick<ApiServices, 'config' | 'redis' | 'queues'>): Route[] {
  const { prefix } = config.redis;
  const requests = new GcRequests(redis, prefix);
  return [
    route({
      id: 'createCollection',
      method: 'POST',
      path: '/v1/gc',
      summary: 'Remove what nobody needs any more, or have it said what that is',
      description:
        'In the content store and on nodes. It happens by itself, too; this does it now. With an Idempotency-Key, the same request again is answered with the same collection.',
      scope: 'admin',
      body: gcRequest,
      headers: { 'Idempotency-Key': 'Up to 255 characters that the caller chose for this request' },
      answer: { status: 202, description: 'Accepted; Location leads to it', schema: collection },
      async handle({ body, request, reply }) {
        const { dryRun = false, graceMs, nodes = [], store = false } = body;
        const demand = {
          dryRun,
          nodes: nodes.length > 0 || store ? nodes : ('all' as const),
          store: store || nodes.length === 0,
          ...(graceMs === undefined ? {} : { graceMs }),
        };
        const accepted = await requestGc(
          demand,
          { redis, prefix, queues },
          idempotentRequest(request, () => `gc ${JSON.stringify(body)}`),
        );
        void reply.header('location', `/v1/gc/${accepted.id}`);
        return await described(accepted, requests);
      },
    }),
    route({
      id: 'listCollections',
      method: 'GET',
      path: '/v1/gc',
      summary: 'List the collections of garbage that were asked for within the last hour',
      scope: 'read',
      query: page,
      answer: { status: 200, description: 'One page, the latest first', schema: collectionList },
      async handle({ query: { limit, cursor } }) {
        const found = await requests.list({
          limit: limit + 1,
          ...(cursor === undefined ? {} : { before: cursor }),
        });
        const { items, ...rest } = cutPage(found, limit, ({ id }) => id);
        return {
          items: await Promise.all(items.map((each) => summarized(each, requests))),
          ...rest,
        };
      },
    }),
    route({
      id: 'getCollection',
      method: 'GET',
      path: '/v1/gc/{id}',
      summary: 'Get what a collection removed, or would remove, and why',
      scope: 'read',
      params: byId,
      answer: { status: 200, description: 'What is known so far', schema: collection },
      async handle({ params: { id } }) {
        const request = await requests.get(id);
        if (request === undefined) throw gcUnknown(id);
        return await described(request, requests);
      },
    }),
  ];
}

async function described(request: GcRequest, requests: GcRequests) {
  const answers = await requests.answers(request.id);
  const parts = partsOf(request).map((part) => {
    const report = answers.get(part);
    return report === undefined ? { part } : { part, report };
  });
  return { ...common(request, (part) => answers.has(part)), parts };
}

async function summarized(request: GcRequest, requests: GcRequests) {
  const answered = await requests.answeredParts(request.id);
  const isDone = (part: string) => answered.includes(part);
  const parts = partsOf(request).map((part) => ({
    part,
    state: isDone(part) ? ('done' as const) : ('waiting' as const),
  }));
  return { ...common(request, isDone), parts };
}

function common(request: GcRequest, isDone: (part: string) => boolean) {
  const { store: _store, nodes: _nodes, ...rest } = request;
  return { ...rest, state: partsOf(request).every(isDone) ? 'done' : 'waiting' };
}
