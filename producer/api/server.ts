import { randomUUID } from 'node:crypto';
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyServerOptions,
  fastify,
  LogController,
} from 'fastify';
import { tlsOptions } from '../../shared/access/tls.ts';
import { DrayError } from '../../shared/errors.ts';
import { isRedisError, queueError } from '../../shared/queue/connection.ts';
import { traced } from '../../shared/telemetry/trace.ts';
import { serveDashboard } from '../dashboard/serve.ts';
import { agentIsLate, agentTimeout } from './agents.ts';
import { authorizer } from './authorize.ts';
import { serveBoard } from './board.ts';
import {
  limitRate,
  maxBody,
  redisTimeout,
  requestTimeout,
  storeTimeout,
  within,
} from './limits.ts';
import { requests } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { sendProblem } from './problem.ts';
import { type Route, serveRoutes } from './route.ts';
import { containerExecRoutes } from './routes/container-exec.ts';
import { containerOutputRoutes } from './routes/container-output.ts';
import { containerRoutes } from './routes/containers.ts';
import { contentRoutes } from './routes/content.ts';
import { desiredRoutes } from './routes/desired.ts';
import { gcRoutes } from './routes/gc.ts';
import { imageRoutes } from './routes/images.ts';
import { nodeRoutes } from './routes/nodes.ts';
import { pullRoutes } from './routes/pulls.ts';
import { queueRoutes } from './routes/queues.ts';
import type { ApiServices } from './services.ts';

function apiRoutes(services: ApiServices): Route[] {
  return [
    ...pullRoutes(services),
    ...imageRoutes(services),
    ...contentRoutes(services),
    ...nodeRoutes(services),
    ...desiredRoutes(services),
    ...queueRoutes(services),
    ...gcRoutes(services),
    ...containerRoutes(services),
    ...containerExecRoutes(services),
    ...containerOutputRoutes(services),
  ];
}

/** The HTTP API, version 1, and the dashboard on it. It does not listen yet. */
export async function createApiServer(services: ApiServices): Promise<FastifyInstance> {
  const { config, redis, tokens, version } = services;
  const { tls } = config.api;
  // Of the ids of requests, by which the log tells them apart.
  const run = randomUUID().slice(0, 8);
  let asked = 0;
  const options: FastifyServerOptions = {
    // The program itself says where it listens.
    loggerInstance: services.log.child({}, { level: 'warn' }) as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: maxBody,
    requestTimeout,
    // What has been asked is answered; streams are ended below.
    forceCloseConnections: 'idle',
    genReqId: () => `${run}-${(++asked).toString(36)}`,
    // Few requests log anything: none has a logger of its own.
    childLoggerFactory: (logger) => logger,
    ...(tls === undefined ? {} : { https: tlsOptions(tls) }),
  };
  const server = fastify(options);
  const closing = new AbortController();
  let closingIdle: NodeJS.Timeout | undefined;
  server.addHook('preClose', async () => {
    closing.abort(new Error('the API stops'));
    // Connections that were busy so far become idle, and would be kept.
    closingIdle = setInterval(() => server.server.closeIdleConnections(), 50);
  });
  server.addHook('onClose', async () => clearInterval(closingIdle));
  server.setErrorHandler(sendProblem);
  server.setNotFoundHandler((request, reply) => {
    const message = `The API has no ${request.method} ${request.url.slice(0, 200)}`;
    sendProblem(
      Object.assign(new DrayError('NOT_FOUND', message), { statusCode: 404 }),
      request,
      reply,
    );
  });
  server.addHook('onRequest', (_request, reply, done) => {
    void reply.header('x-content-type-options', 'nosniff').header('cache-control', 'no-store');
    done();
  });
  server.addHook('onResponse', (request, reply, done) => {
    const operation = request.routeOptions.url ?? 'none';
    requests.inc({ operation: `${request.method} ${operation}`, code: reply.statusCode });
    done();
  });
  const routes = apiRoutes(services);
  const document = openApiDocument(routes, version);
  server.get('/openapi.json', () => document);
  server.get('/livez', () => ({ status: 'ok' }));
  server.get('/readyz', async () => {
    await within(redisTimeout, redis.ping(), redisIsLate).catch((error: unknown) => {
      throw queueError(error, config.redis, redis);
    });
    return { status: 'ok' };
  });
  serveDashboard(server);
  const authorize = authorizer(tokens);
  await serveBoard(server, authorize, services);
  await server.register(async (api) => {
    limitRate(api, config.api.rate);
    serveRoutes(
      api,
      routes.map((route) => inTime(route, services, closing.signal)),
      authorize,
    );
  });
  return server;
}

/**
 * Redis may hang, and the store: the caller is told so instead. Streams last as long as they do, or the server. What
 * is asked for belongs to its caller's trace.
 */
function inTime(
  route: Route,
  { config, redis }: Pick<ApiServices, 'config' | 'redis'>,
  closing: AbortSignal,
): Route {
  const name = `${route.method} ${route.path}`;
  return {
    ...route,
    async handle(call) {
      const { headers } = call.request;
      const work = () => traced(name, { kind: 'server', headers }, async () => route.handle(call));
      try {
        if (route.answer.mediaType !== undefined) {
          return await route.handle({ ...call, signal: AbortSignal.any([call.signal, closing]) });
        }
        if (route.asksAgent === true) return await within(agentTimeout, work(), agentIsLate);
        return route.asksStore === true
          ? await within(storeTimeout, work(), storeIsLate)
          : await within(redisTimeout, work(), redisIsLate);
      } catch (error) {
        throw isOfRedis(error) ? queueError(error, config.redis, redis) : error;
      }
    },
  };
}

function redisIsLate(): Error {
  return Object.assign(new Error('no answer in time'), { name: 'RedisTimeout' });
}

function storeIsLate(): Error {
  return new DrayError('TIMEOUT', 'The content store did not answer in time', {
    retryable: true,
    hint: 'Ask for smaller pages, or look whether the store is well: dray doctor',
  });
}

/** What is thrown while Redis is away, or too slow. */
function isOfRedis(error: unknown): boolean {
  const name = error instanceof Error ? error.name : '';
  return ['RedisTimeout', 'AbortError'].includes(name) || isRedisError(error);
}
