import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import type { OutputChunk, OutputStream } from '../../../shared/agent/containers.ts';
import { encodeError } from '../../../shared/errors.ts';
import { listNodes } from '../../../shared/node/registry.ts';
import { askAgent } from '../agents.ts';
import { type Route, route } from '../route.ts';
import { containerId, fleetContainers } from '../schemas/container.ts';
import { nodeName } from '../schemas/node.ts';
import type { ApiServices } from '../services.ts';

const byId = z.strictObject({ name: nodeName, id: containerId });
const flag = z.stringbool().optional();
const wanted = z.strictObject({
  follow: flag.meta({ description: 'It goes on until the container has ended' }),
  timestamps: flag.meta({ description: 'With the time, in UTC, in front of each line' }),
  tail: z.coerce
    .number()
    .int()
    .min(0)
    .max(1_000_000_000)
    .optional()
    .meta({ description: 'So many lines before the end' }),
  since: z.iso
    .datetime({ offset: true })
    .optional()
    .meta({ description: 'What was written since then' }),
  stream: z.enum(['stdout', 'stderr']).optional().meta({ description: 'Default: both' }),
});

/** Milliseconds in which each node must have said what it has, where all are asked; and how many are asked at once. */
const fleetTimeout = 10_000;
const atOnce = 32;

/** What containers wrote; and the containers of all nodes. */
export function containerOutputRoutes(services: Pick<ApiServices, 'config' | 'redis'>): Route[] {
  const { config, redis } = services;
  return [
    route({
      id: 'getContainerLogs',
      method: 'GET',
      path: '/v1/nodes/{name}/containers/{id}/logs',
      summary: 'Read what a container wrote, as it wrote it',
      scope: 'read',
      needsToken: true,
      params: byId,
      query: wanted,
      answer: {
        status: 200,
        description: 'The bytes of its output',
        schema: z.string().meta({ format: 'binary' }),
        mediaType: 'text/plain',
      },
      async handle({ params: { name, id }, query, request, reply, signal }) {
        const { stream, since, ...rest } = query;
        const { output } = await askAgent(services, name, (agent) =>
          agent.containers.logs(id, {
            ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)),
            ...(since === undefined ? {} : { since: new Date(since) }),
            signal,
          }),
        );
        const { raw } = reply.hijack();
        raw.writeHead(200, {
          'content-type': 'text/plain; charset=utf-8',
          'cache-control': 'no-store',
          // What a container wrote must not become a page of this site.
          'x-content-type-options': 'nosniff',
          'x-accel-buffering': 'no',
        });
        // A container that is silent has been found all the same.
        raw.flushHeaders();
        await pipeline(Readable.from(bytesOf(output, stream)), raw, { signal }).catch(
          (error: unknown) => {
            if (!signal.aborted)
              request.log.warn({ err: error }, 'the output of a container broke');
          },
        );
      },
    }),
    route({
      id: 'listContainers',
      method: 'GET',
      path: '/v1/containers',
      summary: 'List the containers of all nodes',
      scope: 'read',
      asksAgent: true,
      needsToken: true,
      answer: {
        status: 200,
        description: 'All of them, by node, and which nodes could not say',
        schema: fleetContainers,
      },
      async handle({ signal }) {
        const nodes = (await listNodes(redis, config.redis.prefix)).map(({ name }) => name);
        const found = await inTurns(nodes, atOnce, async (node) => {
          const bound = AbortSignal.any([signal, AbortSignal.timeout(fleetTimeout)]);
          try {
            const list = await askAgent(services, node, (agent) =>
              agent.containers.list({ signal: bound }),
            );
            return { items: list.map((container) => ({ node, container })), missing: [] };
          } catch (error) {
            return { items: [], missing: [{ node, error: encodeError(error) }] };
          }
        });
        return {
          items: found.flatMap(({ items }) => items),
          missing: found.flatMap(({ missing }) => missing),
        };
      },
    }),
  ];
}

async function* bytesOf(
  output: AsyncIterable<OutputChunk>,
  wanted: OutputStream | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const { stream, bytes } of output) {
    if (wanted === undefined || wanted === stream) yield bytes;
  }
}

/** What comes of each, in their order, with so many under way at once. */
async function inTurns<T, R>(
  all: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const rest = all.entries();
  const turn = async () => {
    for (const [i, item] of rest) results[i] = await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, turn));
  return results;
}
