import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { decodeFrames, type Frame } from '../../shared/agent/frames.ts';
import {
  DrayError,
  decodeError,
  type EncodedError,
  errnoOf,
  messageOf,
} from '../../shared/errors.ts';
import type { AgentEndpoint, RemoteEndpoint } from './endpoint.ts';
import { exchange } from './exchange.ts';

export interface CallOptions {
  signal?: AbortSignal;
}

/** An answer whose body still comes. */
export interface OpenAnswer {
  headers: IncomingHttpHeaders;
  /** The connection closes with it. */
  body: AsyncIterable<Uint8Array>;
}

/** The largest answer that is read whole: lists of snapshots and containers. */
const maxAnswerBytes = 64 * 1024 * 1024;
/** The largest refusal: a message may quote the end of a log. */
const maxRefusalBytes = 256 * 1024;

/**
 * Sends requests to one agent. Each has a connection of its own, so that none waits for another. What the agent
 * refuses is thrown as it said it; what keeps it from answering, as AGENT_UNAVAILABLE; what the caller's signal
 * ends, as its reason.
 */
export class AgentConnection {
  readonly #endpoint: AgentEndpoint;

  constructor(endpoint: AgentEndpoint) {
    this.#endpoint = endpoint;
  }

  /** @param body JSON, or a stream */
  async json<T>(
    method: string,
    path: string,
    body: object | undefined,
    options: CallOptions,
  ): Promise<T> {
    const answer = await this.open(method, path, body, options);
    const text = await this.#readWhole(answer.body, maxAnswerBytes);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** A request and an answer that are frames, and go on at the same time. */
  async frames(path: string, input: Readable, options: CallOptions): Promise<AsyncIterable<Frame>> {
    return decodeFrames((await this.open('POST', path, input, options)).body);
  }

  /** The answer, once its headers are there. */
  async open(
    method: string,
    path: string,
    body: object | undefined,
    { signal }: CallOptions,
  ): Promise<OpenAnswer> {
    signal?.throwIfAborted();
    try {
      const { answer, close } = await exchange(this.#endpoint, { method, path, body, signal });
      if ((answer.statusCode ?? 0) >= 400) {
        try {
          throw decodeAnswer(await this.#readWhole(answer, maxRefusalBytes));
        } finally {
          close();
        }
      }
      return { headers: answer.headers, body: this.#read(answer, close, signal) };
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof DrayError ? error : this.unavailable(error);
    }
  }

  /** That it does not answer, or not what it should, and what to do. */
  unavailable(error: unknown): DrayError {
    return 'socketPath' in this.#endpoint
      ? silentSocket(this.#endpoint.socketPath, error)
      : silentNode(this.#endpoint, error);
  }

  async #readWhole(body: AsyncIterable<Uint8Array>, most: number): Promise<string> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > most) throw this.unavailable(new Error('its answer is too large'));
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  }

  async *#read(
    body: AsyncIterable<Uint8Array>,
    close: () => void,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array> {
    try {
      yield* body;
    } catch (error) {
      signal?.throwIfAborted();
      throw this.unavailable(error);
    } finally {
      close();
    }
  }
}

function silentSocket(socketPath: string, error: unknown): DrayError {
  const errno = errnoOf(error);
  if (errno === 'EACCES') {
    return new DrayError('AGENT_UNAVAILABLE', `The agent at ${socketPath} is not yours to use`, {
      hint: 'Use sudo, or join the group of the socket.',
      cause: error,
    });
  }
  const isDown = errno === 'ENOENT' || errno === 'ECONNREFUSED';
  const why = isDown ? 'no agent listens there' : messageOf(error);
  return new DrayError('AGENT_UNAVAILABLE', `The agent at ${socketPath} does not answer: ${why}`, {
    retryable: true,
    hint: 'dray status shows what runs. dray up starts the embedded fleet, dray agent the agent of another one; --node NAME asks a node elsewhere.',
    cause: error,
  });
}

function silentNode({ node, address }: RemoteEndpoint, error: unknown): DrayError {
  const errno = errnoOf(error);
  const why = errno === 'ECONNREFUSED' ? 'nothing listens there' : messageOf(error).split(';')[0];
  const isTrust = /CERT|SELF_SIGNED|ISSUER|VERIFY|SSL|TLS/.test(errno ?? '');
  return new DrayError(
    'AGENT_UNAVAILABLE',
    `The agent of node ${node} at ${address} does not answer: ${why}`,
    {
      retryable: !isTrust,
      hint: isTrust
        ? 'DRAY_NODES_CA says whose certificates of agents are trusted; DRAY_NODES_CERT and DRAY_NODES_KEY are shown to them.'
        : 'dray nodes shows which nodes were heard of.',
      cause: error,
    },
  );
}

function decodeAnswer(text: string): DrayError {
  try {
    return decodeError((JSON.parse(text) as { error: EncodedError }).error);
  } catch {
    return new DrayError('AGENT_UNAVAILABLE', `The agent answered: ${text.slice(0, 300)}`);
  }
}

/** An answer that is lines of JSON. */
export async function* linesOf<T>(
  body: AsyncIterable<Uint8Array>,
  revive?: (key: string, value: unknown) => unknown,
): AsyncGenerator<T> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') yield JSON.parse(line, revive) as T;
  }
}
