import type { FastifyInstance } from 'fastify';
import {
  logStartHeader,
  type OutputChunk,
  type StartedMessage,
} from '../../../shared/agent/containers.ts';
import type { ExitMessage } from '../../../shared/agent/exec.ts';
import { emptyFrame, encodeControl, encodeFrames } from '../../../shared/agent/frames.ts';
import type { Containers, RunningContainer } from '../containers/containers.ts';
import {
  containerID,
  createContainerBody,
  forceQuery,
  killBody,
  logsQuery,
  parse,
  signalOf,
  stopBody,
} from './requests.ts';
import { streamAnswer } from './stream-answer.ts';

/** Large enough for an environment that is too large, which gets its own answer. */
const createBodyLimit = 4 * 1024 * 1024;

/** The routes of containers: see {@link Containers} for what each promises. */
export function containerRoutes(server: FastifyInstance, containers: Containers): void {
  server.get('/v1/containers', () => ({ containers: containers.list() }));

  server.post('/v1/containers', { bodyLimit: createBodyLimit }, async (request, reply) => {
    const body = parse(createContainerBody, request.body);
    const created = await containers.create(body, { signal: signalOf(reply) });
    return reply.code(201).send(created);
  });

  server.post('/v1/containers/run', { bodyLimit: createBodyLimit }, async (request, reply) => {
    const body = parse(createContainerBody, request.body);
    const running = await containers.run(body, { signal: signalOf(reply) });
    reply.code(201).header(logStartHeader, running.log.from);
    return streamAnswer(reply, runFrames(running), running.log);
  });

  server.get('/v1/containers/:id', (request) => containers.inspect(containerID(request)));

  server.post('/v1/containers/:id/start', (request, reply) =>
    containers.start(containerID(request), { signal: signalOf(reply) }),
  );

  server.post('/v1/containers/:id/kill', async (request, reply) => {
    const { signal } = parse(killBody, request.body);
    await containers.kill(containerID(request), signal);
    return reply.code(204).send();
  });

  server.post('/v1/containers/:id/stop', (request, reply) => {
    const { timeout } = parse(stopBody, request.body);
    return containers.stop(containerID(request), {
      ...(timeout === undefined ? {} : { timeout }),
      signal: signalOf(reply),
    });
  });

  server.post('/v1/containers/:id/pause', (request, reply) =>
    containers.pause(containerID(request), { signal: signalOf(reply) }),
  );

  server.post('/v1/containers/:id/unpause', (request, reply) =>
    containers.unpause(containerID(request), { signal: signalOf(reply) }),
  );

  server.get('/v1/containers/:id/wait', (request, reply) =>
    containers.wait(containerID(request), { signal: signalOf(reply) }),
  );

  server.delete('/v1/containers/:id', async (request, reply) => {
    const { force = false } = parse(forceQuery, request.query);
    await containers.remove(containerID(request), { force, signal: signalOf(reply) });
    return reply.code(204).send();
  });

  server.get('/v1/containers/:id/logs', async (request, reply) => {
    const query = parse(logsQuery, request.query);
    const signal = signalOf(reply);
    const log = await containers.logs(containerID(request), { ...query, signal });
    reply.header(logStartHeader, log.from);
    return streamAnswer(reply, frames(log.output), log);
  });
}

/** That it runs, its output, and how it ended. */
async function* runFrames({ id, warnings, log, exited }: RunningContainer): AsyncGenerator<Buffer> {
  const started: StartedMessage = { started: { id, warnings } };
  yield encodeControl(started);
  for await (const { stream, bytes } of log.output) yield* encodeFrames(stream, bytes);
  const exit: ExitMessage = { exit: await exited };
  yield encodeControl(exit);
}

/** The first frame is empty: with it the headers leave, and the caller knows that it misses nothing from here on. */
async function* frames(output: AsyncIterable<OutputChunk>): AsyncGenerator<Buffer> {
  yield emptyFrame;
  for await (const { stream, bytes } of output) yield* encodeFrames(stream, bytes);
}
