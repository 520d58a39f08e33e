import { type FastifyInstance, fastify } from 'fastify';
import { DrayError, messageOf } from '../errors.ts';
import { metrics } from './metrics.ts';

/** What a program says of itself. */
export interface Health {
  /** Whether it does its work; false: it should be started again. */
  isAlive: () => boolean;
  /** Whether it can take work now. */
  isReady: () => boolean;
}

/**
 * Serves `/metrics` (Prometheus text), `/livez` and `/readyz`, on an address of their own: they need no token.
 * @param address `host:port`
 * @throws USAGE when it can't listen there
 */
export async function serveTelemetry(address: string, health: Health): Promise<FastifyInstance> {
  const server = fastify({ forceCloseConnections: true });
  server.get('/metrics', async (_request, reply) => {
    const text = await metrics.metrics();
    return reply.type(metrics.contentType).send(text);
  });
  const answer = (path: string, isWell: () => boolean) =>
    server.get(path, (_request, reply) => {
      const well = isWell();
      return reply.code(well ? 200 : 503).send({ status: well ? 'ok' : 'failing' });
    });
  answer('/livez', health.isAlive);
  answer('/readyz', health.isReady);
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replaceAll(/[[\]]/g, '');
  try {
    await server.listen({ host, port: Number(address.slice(colon + 1)) });
  } catch (error) {
    throw new DrayError('USAGE', `${address} can't be listened on: ${messageOf(error)}`, {
      hint: 'Choose another address for metrics with DRAY_METRICS_LISTEN.',
      cause: error,
    });
  }
  return server;
}
