import { chmod, mkdir, rm } from 'node:fs/promises';
import type { ServerOptions } from 'node:https';
import { dirname } from 'node:path';
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify';
import type { Logger } from '../../../shared/logging.ts';
import type { Containers } from '../containers/containers.ts';
import { containerRoutes } from './container-routes.ts';
import { copyRoutes } from './copy-routes.ts';
import { sendError } from './http-errors.ts';
import { observeRoutes } from './observe-routes.ts';
import { type PullServices, pullRoutes } from './pull-routes.ts';
import { type StorageServices, storageRoutes } from './storage-routes.ts';
import { streamRoutes } from './stream-routes.ts';
import { volumeRoutes } from './volume-routes.ts';

/** What the agent's API stands on. */
export interface AgentServices extends StorageServices {
  /** Where pulls to this node go; not offered over the network. */
  pulls?: PullServices;
  node: string;
  version: string;
  containers: Containers;
  log: Logger;
}

/** For those who come over the network: nothing but https, and only who may. */
export interface RemoteAccess {
  https: ServerOptions;
  /** @throws UNAUTHORIZED, DENIED */
  authorize: (request: FastifyRequest) => Promise<void>;
}

/**
 * The agent's API, version 1: JSON over HTTP, errors as `{ error: EncodedError }`. It does not listen yet.
 * Without `remote` it is for a socket whose file says who may.
 */
export function createAgentServer(services: AgentServices, remote?: RemoteAccess): FastifyInstance {
  const { node, version } = services;
  const server = fastify({
    ...(remote === undefined ? {} : { https: remote.https }),
    loggerInstance: services.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    // A caller that follows an output must not hold up the end of the program.
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 512 },
  });
  server.setErrorHandler(sendError);
  if (remote !== undefined) server.addHook('onRequest', remote.authorize);
  server.setNotFoundHandler((request, reply) => {
    const asked = `${request.method} ${request.url.replace(/\?.*/, '').slice(0, 200)}`;
    const message = `The agent of ${node} (version ${version}) does not know ${asked}: it is of another version than who asks`;
    const hint = 'Start it again with the same version: its containers run on.';
    void reply
      .code(404)
      .send({ error: { code: 'VERSION_MISMATCH', message, hint, retryable: false } });
  });
  // A layer is handed on as it comes, whatever its size.
  server.addContentTypeParser('application/octet-stream', (_request, payload, done) =>
    done(null, payload),
  );
  server.get('/v1/health', () => ({ status: 'ok', node, version }));
  containerRoutes(server, services.containers);
  streamRoutes(server, services.containers);
  copyRoutes(server, services.containers);
  observeRoutes(server, services.containers);
  volumeRoutes(server, services.containers);
  storageRoutes(server, services);
  if (remote === undefined && services.pulls !== undefined) pullRoutes(server, services.pulls);
  return server;
}

/**
 * Listens on a unix socket for root and its group. One that a dead agent left is replaced: the node's
 * database, which only one agent can hold, was opened before.
 */
export async function listenOnSocket(server: FastifyInstance, socket: string): Promise<void> {
  await mkdir(dirname(socket), { recursive: true, mode: 0o750 });
  await rm(socket, { force: true });
  await server.listen({ path: socket });
  await chmod(socket, 0o660);
}
