import { randomUUID } from 'node:crypto';
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify';
import { DrayError } from '../../shared/errors.ts';
import { queueError } from '../../shared/queue/connection.ts';
import { traced } from '../../shared/telemetry/trace.ts';
import { requests } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { sendProblem } from './problem.ts';
import { type Route, serveRoutes } from './route.ts';
import { contentRoutes } from './routes/content.ts';
import { imageRoutes } from './routes/images.ts';
import { nodeRoutes } from './routes/nodes.ts';
import { pullRoutes } from './routes/pulls.ts';
import { queueRoutes } from './routes/queues.ts';
import type { ApiServices } from './services.ts';
import { allows, type Scope, unauthorized } from './tokens.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The name of the token that the request came with. */
    caller?: string;
  }
}

const maxBody = 1024 * 1024;
/** Milliseconds in which a request must have come, and Redis must have answered. */
const requestTimeout = 30_000;
const redisTimeout = 5_000;

export function apiRoutes(services: ApiServices): Route[] {
  return [
    ...pullRoutes(services),
    ...imageRoutes(services),
    ...contentRoutes(services),
    ...nodeRoutes(services),
    ...queueRoutes(services),
  ];
}

/** The HTTP API, version 1. It does not listen yet. */
export function createApiServer(services: ApiServices): FastifyInstance {
  const { config, redis, tokens, version } = services;
  const server = fastify({
    loggerInstance: services.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: maxBody,
    requestTimeout,
    forceCloseConnections: true,
    genReqId: () => randomUUID(),
  });
  server.setErrorHandler(sendProblem);
  server.setNotFoundHandler((request, reply) => {
    const message = `The API has no ${request.method} ${request.url.slice(0, 200)}`;
    sendProblem(
      Object.assign(new DrayError('NOT_FOUND', message), { statusCode: 404 }),
      request,
      reply,
    );
  });
  server.addHook('onResponse', async (request, reply) => {
    const operation = request.routeOptions.url ?? 'none';
    requests.inc({ operation: `${request.method} ${operation}`, code: reply.statusCode });
  });
  const routes = apiRoutes(services);
  const document = openApiDocument(routes, version);
  server.get('/openapi.json', () => document);
  server.get('/livez', () => ({ status: 'ok' }));
  server.get('/readyz', async () => {
    await bounded(redis.ping()).catch((error: unknown) => {
      throw queueError(error, config.redis, redis);
    });
    return { status: 'ok' };
  });

  const authorize = async (request: FastifyRequest, scope: Scope) => {
    if (tokens === undefined) return;
    const [, token] = /^Bearer ([\w-]{1,256})$/i.exec(request.headers.authorization ?? '') ?? [];
    if (token === undefined) {
      throw unauthorized(
        'The request has no token',
        'Send it as: Authorization: Bearer TOKEN. Make one with: dray token create NAME',
      );
    }
    const record = await tokens.verify(token);
    request.caller = record.name;
    if (allows(record, scope)) return;
    throw new DrayError('DENIED', `The token ${record.name} has no scope ${scope}`, {
      hint: `It has: ${record.scopes.join(', ')}.`,
    });
  };
  const answering = routes.map((route): Route => {
    return {
      ...route,
      // Redis may hang: the caller is told so instead.
      handle: async (call) => {
        try {
          if (route.answer.mediaType !== undefined) return await route.handle(call);
          const { headers } = call.request;
          return await traced(`${route.method} ${route.path}`, { kind: 'server', headers }, () =>
            bounded(Promise.resolve(route.handle(call))),
          );
        } catch (error) {
          throw isRedisError(error) ? queueError(error, config.redis, redis) : error;
        }
      },
    };
  });
  serveRoutes(server, answering, authorize);
  return server;
}

async function bounded<T>(work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(Object.assign(new Error('no answer in time'), { name: 'RedisTimeout' })),
    redisTimeout,
  );
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** What ioredis throws while Redis is away. */
function isRedisError(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof DrayError) return false;
  return (
    ['MaxRetriesPerRequestError', 'RedisTimeout', 'ReplyError', 'AbortError'].includes(
      error.name,
    ) || /ECONNREFUSED|ECONNRESET|Connection is closed|Stream isn't writeable/.test(error.message)
  );
}
