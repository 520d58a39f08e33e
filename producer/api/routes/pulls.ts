import { z } from 'zod';
import { DrayError } from '../../../shared/errors.ts';
import { acceptPull } from '../../../shared/pull/accept.ts';
import { pullIdForm } from '../../../shared/pull/id.ts';
import type { Pace } from '../../../shared/pull/pace.ts';
import type { Pulls } from '../../../shared/pull/pulls.ts';
import { type Steering, steerPull } from '../../steer-pull.ts';
import { streamEvents } from '../events.ts';
import { idempotentRequest } from '../idempotency.ts';
import { cutPage, pageOf } from '../paging.ts';
import { pullAgain } from '../retry.ts';
import { type Route, route } from '../route.ts';
import { pull, pullList, pullRequest } from '../schemas/pull.ts';
import type { ApiServices } from '../services.ts';

const byId = z.strictObject({ id: z.string().regex(pullIdForm, 'not the id of a pull') });
const page = pageOf(byId.shape.id, { most: 200, usual: 50 }).extend({
  state: z.enum(['open']).optional().meta({ description: 'open: only those that have not ended' }),
});

/** Streams of events at once: each has a connection to Redis of its own. */
const maxStreams = 1_000;

/** Pulls: create, get, list, cancel, retry, follow. */
export function pullRoutes(services: ApiServices): Route[] {
  const { config, redis, pulls, summaries, records } = services;
  let streams = 0;
  const steering = (verb: Steering, summary: string, description = '') =>
    route({
      id: `${verb}Pull`,
      method: 'POST',
      path: `/v1/pulls/{id}/${verb}`,
      summary,
      description: `${description} Doing so twice is no error.`.trim(),
      scope: 'pull',
      params: byId,
      answer: { status: 200, description: 'The pull as it stands then', schema: pull },
      async handle({ params: { id } }) {
        await steerPull(redis, config.redis.prefix, id, verb);
        return await found(pulls, id);
      },
    });
  return [
    route({
      id: 'createPull',
      method: 'POST',
      path: '/v1/pulls',
      summary: 'Bring an image to nodes, ready to run',
      description:
        'Once this answers, the pull is not lost by the death of any process. With an Idempotency-Key, the same request again is answered with the same pull, for a day.',
      scope: 'pull',
      body: pullRequest,
      headers: { 'Idempotency-Key': 'Up to 255 characters that the caller chose for this request' },
      answer: { status: 202, description: 'Accepted; Location leads to it', schema: pull },
      async handle({ body, request, reply }) {
        const { reference, platform, nodes = [], selector, pace } = body;
        const { credential, priority, policy } = body;
        const wanted = {
          ...{ reference, nodes },
          ...(platform === undefined ? {} : { platform }),
          ...(credential === undefined ? {} : { credential }),
          ...(priority === undefined ? {} : { priority }),
          ...(policy === undefined ? {} : { policy }),
          ...(selector === undefined ? {} : { selector }),
          ...(body.webhook === undefined ? {} : { webhook: body.webhook }),
          ...(pace === undefined ? {} : { pace: pace as Pace }),
        };
        const { id, created } = await acceptPull(config, redis, wanted, {
          queues: services.queues,
          ...idempotentRequest(request, () => JSON.stringify(body)),
        });
        void reply.header('location', `/v1/pulls/${id}`);
        return created ?? (await found(pulls, id));
      },
    }),
    route({
      id: 'listPulls',
      method: 'GET',
      path: '/v1/pulls',
      summary: 'List pulls, newest first, without what is with each blob and node',
      description:
        'Those that bring something into the store. What only asks a registry, as resolving a tag does, is not listed; each can be had by its id.',
      scope: 'read',
      query: page,
      answer: { status: 200, description: 'One page', schema: pullList },
      async handle({ query: { limit, cursor, state } }) {
        if (state === 'open') return { items: await summaries.open(limit) };
        const items = await summaries.list({
          limit: limit + 1,
          ...(cursor === undefined ? {} : { before: cursor }),
        });
        return cutPage(items, limit, ({ id }) => id);
      },
    }),
    route({
      id: 'getPull',
      method: 'GET',
      path: '/v1/pulls/{id}',
      summary: 'Get a pull as it stands',
      scope: 'read',
      params: byId,
      answer: { status: 200, description: 'The pull', schema: pull },
      handle: ({ params: { id } }) => found(pulls, id),
    }),
    steering(
      'cancel',
      'Cancel a pull',
      'Workers and nodes stop within 2 s what they do for it alone.',
    ),
    steering(
      'pause',
      'Let no further node of a pull begin',
      'Nodes that are under way go on, and so do deadlines.',
    ),
    steering('resume', 'Let nodes of a pull begin again'),
    route({
      id: 'retryPull',
      method: 'POST',
      path: '/v1/pulls/{id}/retry',
      summary: 'Pull anew what a failed or cancelled pull was for',
      description: 'Doing so again within a day is answered with the same new pull.',
      scope: 'pull',
      params: byId,
      answer: {
        status: 202,
        description: 'Accepted; Location leads to the new pull',
        schema: pull,
      },
      async handle({ params, reply, signal }) {
        const record = await records.get(params.id);
        if (record === undefined) throw unknown(params.id);
        const id = await pullAgain(record, services, { signal });
        void reply.header('location', `/v1/pulls/${id}`);
        return await found(pulls, id);
      },
    }),
    route({
      id: 'followPull',
      method: 'GET',
      path: '/v1/pulls/{id}/events',
      summary: 'Follow a pull to its end',
      description:
        'Server-sent events: first `pull`, the whole pull as it stands, then `change`, the pull with only those of its nodes that are new. Who comes back with Last-Event-ID gets a `change` with all that is newer, or a `pull` where that is too long ago. The stream ends with the pull; a browser would connect again, so it closes the EventSource at a finished state.',
      scope: 'read',
      params: byId,
      headers: { 'Last-Event-ID': 'The id of the last event that was got' },
      answer: {
        status: 200,
        description: 'Events',
        schema: z.string(),
        mediaType: 'text/event-stream',
      },
      async handle({ params: { id }, request, reply, signal }) {
        await found(pulls, id);
        if (streams >= maxStreams) throw tooManyStreams();
        streams++;
        try {
          await streamEvents(reply, pulls, id, { signal, after: request.headers['last-event-id'] });
        } finally {
          streams--;
        }
      },
    }),
  ];
}

async function found(pulls: Pulls, id: string) {
  const status = await pulls.get(id);
  if (status === undefined) throw unknown(id);
  return status;
}

function unknown(id: string): DrayError {
  return new DrayError('NOT_FOUND', `There is no pull ${id}`, {
    hint: 'Finished pulls are kept for seven days. GET /v1/pulls lists those that there are.',
  });
}

function tooManyStreams(): DrayError {
  return new DrayError('RATE_LIMITED', `${maxStreams} streams of events are open already`, {
    retryable: true,
    hint: 'Come back later, ask another replica of the API, or have a webhook told instead.',
  });
}
