import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ExitMessage } from '../../../shared/agent/exec.ts';
import {
  decodeFrames,
  emptyFrame,
  encodeControl,
  encodeFrames,
  type Frame,
} from '../../../shared/agent/frames.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { Containers } from '../containers/containers.ts';
import type { ContainerInput } from '../containers/input.ts';
import type { ExecSession } from '../runtime/exec.ts';
import { parseSignal } from '../runtime/signals.ts';
import { callerMessage, containerID, execMessage, parse, signalOf } from './requests.ts';
import { streamAnswer } from './stream-answer.ts';

/** Milliseconds in which a caller ends its request once the process has ended. */
const inputBound = 5_000;

/**
 * The routes whose request and answer are both streams, at the same time, of frames (shared/agent/frames.ts).
 * What the request asks for is its first message; an error up to there is an answer like any other.
 */
export function streamRoutes(server: FastifyInstance, containers: Containers): void {
  server.post('/v1/containers/:id/exec', async (request, reply) => {
    const frames = framesOf(request);
    const body = parse(execMessage, await firstMessage(frames));
    const signal = signalOf(reply);
    const session = await containers.exec(containerID(request), body, { signal });
    const leave = () => session.leave();
    if (signal.aborted) leave();
    signal.addEventListener('abort', leave, { once: true });
    const taken = takeInput(frames, session);
    return reply
      .type('application/octet-stream')
      .send(Readable.from(answer(session, taken), { objectMode: false }));
  });

  server.post('/v1/containers/:id/input', async (request, reply) => {
    const id = containerID(request);
    const signal = signalOf(reply);
    const input = containers.input(id);
    const ended = containers.wait(id, { signal });
    ended.catch(() => {});
    return streamAnswer(reply, passOn(input, framesOf(request), ended), input);
  });
}

/** The answer goes on until all input was handed over, the caller leaves, or the container has ended. */
async function* passOn(
  input: ContainerInput,
  frames: AsyncIterable<Frame>,
  ended: Promise<unknown>,
): AsyncGenerator<Buffer> {
  using _open = input;
  yield emptyFrame;
  await Promise.race([takeContainerInput(frames, input), ended]);
}

async function takeContainerInput(
  frames: AsyncIterable<Frame>,
  input: ContainerInput,
): Promise<void> {
  for await (const { kind, bytes } of frames) {
    if (kind === 'stdin') await input.write(bytes);
    if (kind !== 'control') continue;
    const message = parse(callerMessage, messageOf(bytes));
    if ('resize' in message) input.resize(message.resize);
    else if (!('signal' in message)) return;
  }
}

/** Hands on what comes for a session, up to the end of the request. */
async function takeInput(frames: AsyncIterable<Frame>, session: ExecSession): Promise<void> {
  try {
    for await (const { kind, bytes } of frames) {
      if (kind === 'stdin') await session.write(bytes);
      if (kind !== 'control') continue;
      const message = parse(callerMessage, messageOf(bytes));
      if ('resize' in message) session.resize(message.resize);
      else if ('signal' in message) session.kill(parseSignal(message.signal, { code: 'USAGE' }));
      else if ('endInput' in message) session.endInput();
      else return session.leave({ detach: true });
    }
    session.endInput();
  } catch {
    // The caller is gone, or talks nonsense: the same to a session.
    session.leave();
  }
}

/**
 * A connection that is closed while its caller still sends is reset, and what was said last is lost with it: the answer
 * ends after the request, which a caller ends who knows how the process ended.
 */
async function* answer(session: ExecSession, taken: Promise<void>): AsyncGenerator<Buffer> {
  yield emptyFrame;
  for await (const { stream, bytes } of session.output) yield* encodeFrames(stream, bytes);
  const exit = await session.exited;
  if (exit === undefined) return;
  const message: ExitMessage = { exit };
  yield encodeControl(message);
  await Promise.race([taken, sleep(inputBound, undefined, { ref: false })]);
}

function framesOf(request: FastifyRequest): AsyncGenerator<Frame> {
  if (!(request.body instanceof Readable)) {
    throw new DrayError('USAGE', 'The request is not a stream of frames');
  }
  return decodeFrames(request.body);
}

async function firstMessage(frames: AsyncGenerator<Frame>): Promise<unknown> {
  const first = await frames.next();
  if (first.done !== true && first.value.kind === 'control') return messageOf(first.value.bytes);
  throw new DrayError('USAGE', 'The request does not say what it asks for');
}

function messageOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    throw new DrayError('USAGE', 'A message is not JSON', { cause: error });
  }
}
