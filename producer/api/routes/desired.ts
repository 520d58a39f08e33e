import { z } from 'zod';
import { DesiredSets } from '../../../shared/desired/desired-sets.ts';
import { statusOfSet } from '../../../shared/desired/set-status.ts';
import { DrayError } from '../../../shared/errors.ts';
import { listNodes } from '../../../shared/node/registry.ts';
import type { Pace } from '../../../shared/pull/pace.ts';
import { keepImage } from '../../keep.ts';
import { type Route, route } from '../route.ts';
import { listOf } from '../schemas/common.ts';
import { desiredRequest, desiredSet, keptImage } from '../schemas/desired.ts';
import type { ApiServices } from '../services.ts';

const byName = z.strictObject({
  name: z.string().regex(/^[a-z0-9._-]{1,63}$/, 'not the name of a desired set'),
});

/** What nodes shall hold from now on: list, get, put, remove. */
export function desiredRoutes(services: Pick<ApiServices, 'config' | 'redis' | 'store'>): Route[] {
  const { config, redis, store } = services;
  const { prefix } = config.redis;
  const sets = new DesiredSets(redis, prefix, store.desired);

  async function found(name: string, signal: AbortSignal) {
    const set = await sets.get(name, { signal });
    if (set === undefined) throw unknown(name);
    return await statusOfSet(set, await listNodes(redis, prefix), { redis, prefix });
  }

  return [
    route({
      id: 'listDesiredSets',
      method: 'GET',
      path: '/v1/desired',
      summary: 'List the desired sets',
      scope: 'read',
      answer: { status: 200, description: 'All of them, by name', schema: listOf(desiredSet) },
      async handle({ signal }) {
        const [all, nodes] = await Promise.all([sets.list({ signal }), listNodes(redis, prefix)]);
        const items = all.map((set) => statusOfSet(set, nodes, { redis, prefix }));
        return { items: await Promise.all(items) };
      },
    }),
    route({
      id: 'getDesiredSet',
      method: 'GET',
      path: '/v1/desired/{name}',
      summary: 'Get a desired set, and how nodes are with it',
      scope: 'read',
      asksStore: true,
      params: byName,
      answer: { status: 200, description: 'The set', schema: desiredSet },
      handle: ({ params: { name }, signal }) => found(name, signal),
    }),
    route({
      id: 'putDesiredSet',
      method: 'PUT',
      path: '/v1/desired/{name}',
      summary: 'Have nodes hold an image from now on',
      description:
        'Makes the set, or replaces it; and pulls the image to the nodes that match now. Nodes that join later and match, and nodes that lose the image, are brought to it too.',
      scope: 'pull',
      asksStore: true,
      params: byName,
      body: desiredRequest,
      answer: {
        status: 200,
        description: 'The set, and the pull that was accepted',
        schema: keptImage,
      },
      async handle({ params: { name }, body, signal }) {
        const { reference, platform, selector, pace, priority, credential } = body;
        const { schedule, retention } = body;
        const request = {
          ...{ reference, nodes: [], selector },
          ...(platform === undefined ? {} : { platform }),
          ...(pace === undefined ? {} : { pace: pace as Pace }),
          ...(priority === undefined ? {} : { priority }),
          ...(credential === undefined ? {} : { credential }),
        };
        const until = retention?.until;
        const keeping = {
          name,
          retention: {
            previous: retention?.previous ?? 1,
            ...(until === undefined ? {} : { until: new Date(until) }),
          },
          ...(schedule === undefined ? {} : { schedule }),
          ...(priority === undefined ? {} : { priority }),
        };
        const { pull } = await keepImage(request, keeping, services, { signal });
        return { set: await found(name, signal), pull };
      },
    }),
    route({
      id: 'removeDesiredSet',
      method: 'DELETE',
      path: '/v1/desired/{name}',
      summary: 'Remove a desired set; what nodes hold stays',
      scope: 'pull',
      asksStore: true,
      params: byName,
      answer: { status: 204, description: 'It is removed' },
      async handle({ params: { name }, signal }) {
        if (!(await sets.remove(name, { signal }))) throw unknown(name);
      },
    }),
  ];
}

function unknown(name: string): DrayError {
  return new DrayError('NOT_FOUND', `There is no desired set ${name}`, {
    hint: 'GET /v1/desired lists those that there are.',
  });
}
