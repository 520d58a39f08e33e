import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { type ContainerEvent, eventStartHeader } from '../../../shared/agent/observe.ts';
import type { Containers } from '../containers/containers.ts';
import { containerID, eventsQuery, parse, signalOf } from './requests.ts';

/** The routes of what can be seen of containers. */
export function observeRoutes(server: FastifyInstance, containers: Containers): void {
  server.get('/v1/stats', async () => ({ stats: await containers.stats() }));

  server.get('/v1/containers/:id/processes', async (request) => ({
    processes: await containers.processes(containerID(request)),
  }));

  server.get('/v1/events', (request, reply) => {
    const query = parse(eventsQuery, request.query);
    const { after = query.since === undefined ? containers.events.last() : 0 } = query;
    const events = containers.events.read({ ...query, after }, { signal: signalOf(reply) });
    return reply
      .header(eventStartHeader, after)
      .type('application/x-ndjson')
      .send(Readable.from(lines(events), { objectMode: false }));
  });
}

/** The first line is empty: with it the headers leave, and the caller knows that it misses nothing from here on. */
async function* lines(events: AsyncIterable<ContainerEvent>): AsyncGenerator<string> {
  yield '\n';
  for await (const event of events) yield `${JSON.stringify(event)}\n`;
}
