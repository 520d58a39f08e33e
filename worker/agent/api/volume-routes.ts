import type { FastifyInstance } from 'fastify';
import type { Containers } from '../containers/containers.ts';

/** The routes of volumes with a name. */
export function volumeRoutes(server: FastifyInstance, containers: Containers): void {
  server.get('/v1/volumes', async () => ({ volumes: await containers.listVolumes() }));

  server.put('/v1/volumes/:name', async (request) => {
    const { name } = request.params as { name: string };
    return await containers.createVolume(name);
  });

  server.delete('/v1/volumes/:name', async (request, reply) => {
    const { name } = request.params as { name: string };
    await containers.removeVolume(name);
    return reply.code(204).send();
  });
}
