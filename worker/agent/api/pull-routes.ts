import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Config } from '../../../shared/config/config.ts';
import { enqueuePull } from '../../../shared/pull/accept.ts';
import { pullIdForm } from '../../../shared/pull/id.ts';
import { paceSchema } from '../../../shared/pull/pace.ts';
import { priorities } from '../../../shared/pull/priority.ts';
import { Pulls } from '../../../shared/pull/pulls.ts';
import type { PullRequest, PullStatus } from '../../../shared/pull/status.ts';
import type { Redis } from '../../../shared/queue/connection.ts';
import type { JobQueues } from '../../../shared/queue/jobs.ts';
import { parse, signalOf } from './requests.ts';

/** What pulls to this node stand on. */
export interface PullServices {
  config: Config;
  redis: Redis;
  queues: JobQueues;
}

const text = z.string().min(1).max(4096);
const id = z.string().regex(pullIdForm, 'not the id of a pull');
const pullBody = z.strictObject({
  id,
  reference: text,
  platform: text.optional(),
  credential: text.optional(),
  priority: z.enum(priorities).optional(),
  policy: text.optional(),
  pace: paceSchema.optional(),
});
const pullParams = z.strictObject({ id });

/**
 * The routes of pulls to this node, for the commands of its own machine: the agent has what enqueues loaded and
 * connected, which takes a command longer than all else that it does.
 */
export function pullRoutes(server: FastifyInstance, { config, redis, queues }: PullServices): void {
  server.post('/v1/pulls', async (request, reply) => {
    const { id, ...wanted } = parse(pullBody, request.body);
    const whole = { ...wanted, nodes: [config.agent.node] } as PullRequest;
    await enqueuePull(config, redis, whole, { queues, id, signal: signalOf(reply) });
    return reply.code(202).send({ id });
  });

  server.get('/v1/pulls/:id/events', (request, reply) => {
    const { id } = parse(pullParams, request.params);
    const gone = new AbortController();
    const signal = AbortSignal.any([signalOf(reply), gone.signal]);
    // Whoever asks goes on by themselves, and says what is wrong with Redis.
    const leave = () => gone.abort();
    redis.once('close', leave);
    reply.raw.once('close', () => redis.off('close', leave));
    const pulls = new Pulls(redis, config.redis.prefix);
    return reply
      .type('application/x-ndjson')
      .send(Readable.from(lines(pulls.watch(id, { signal })), { objectMode: false }));
  });
}

async function* lines(statuses: AsyncIterable<PullStatus>): AsyncGenerator<string> {
  for await (const status of statuses) yield `${JSON.stringify(status)}\n`;
}
