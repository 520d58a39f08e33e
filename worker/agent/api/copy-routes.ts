import { finished, Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { DrayError } from '../../../shared/errors.ts';
import type { Containers } from '../containers/containers.ts';
import { copyIn } from '../copy/copy-in.ts';
import { copyOut, lookUp } from '../copy/copy-out.ts';
import {
  containerID,
  copyInQuery,
  copyOutQuery,
  lookUpQuery,
  parse,
  signalOf,
} from './requests.ts';

/** The routes of files in containers, which come and go as tar archives. */
export function copyRoutes(server: FastifyInstance, containers: Containers): void {
  server.get('/v1/containers/:id/file', async (request, reply) => {
    const { path, follow = false } = parse(lookUpQuery, request.query);
    await using root = await containers.root(containerID(request), { signal: signalOf(reply) });
    root.requireVisible(path);
    return lookUp(root.fd, path, { follow });
  });

  server.get('/v1/containers/:id/archive', async (request, reply) => {
    const { path, name, follow = false } = parse(copyOutQuery, request.query);
    await using stack = new AsyncDisposableStack();
    const root = stack.use(
      await containers.root(containerID(request), { signal: signalOf(reply) }),
    );
    root.requireVisible(path);
    const archive = copyOut(root.fd, path, { name, follow, idOf: root.toContainer });
    const kept = stack.move();
    finished(archive, () => {
      kept.disposeAsync().catch((error: unknown) => request.log.error({ err: error }, 'a copy'));
    });
    return reply.type('application/x-tar').send(archive);
  });

  server.put('/v1/containers/:id/archive', async (request, reply) => {
    const { path, name, ids = false } = parse(copyInQuery, request.query);
    if (!(request.body instanceof Readable)) {
      throw new DrayError('USAGE', 'The request has no archive');
    }
    const signal = signalOf(reply);
    await using root = await containers.root(containerID(request), { signal });
    root.requireVisible(path);
    if (lookUp(root.fd, path, { follow: true }).type !== 'folder') {
      throw new DrayError('CONFLICT', `${path} in the container is no folder`);
    }
    await copyIn(
      request.body,
      {
        root: root.fd,
        folder: path,
        ...(name === undefined ? {} : { name }),
        owner: ids ? undefined : { uid: root.toNode(0), gid: root.toNode(0) },
      },
      { signal },
    );
    return reply.code(204).send();
  });
}
