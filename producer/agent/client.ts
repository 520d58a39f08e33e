import type { IncomingHttpHeaders } from 'node:http';
import { type PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import {
  type ContainerExit,
  type ContainerStatus,
  type CreateContainerRequest,
  type FoundFile,
  type LogRequest,
  logStartHeader,
  type MountStatus,
  type OutputChunk,
  type SnapshotStatus,
  type StartedMessage,
  type VolumeStatus,
} from '../../shared/agent/containers.ts';
import type { ExecRequest, ExitMessage } from '../../shared/agent/exec.ts';
import {
  decodeFrames,
  emptyFrame,
  encodeControl,
  type Frame,
  outputOf,
} from '../../shared/agent/frames.ts';
import {
  type ContainerEvent,
  type ContainerStats,
  eventStartHeader,
  type ProcessStatus,
} from '../../shared/agent/observe.ts';
import type { PullHereRequest } from '../../shared/agent/pulls.ts';
import {
  DrayError,
  decodeError,
  type EncodedError,
  errnoOf,
  messageOf,
} from '../../shared/errors.ts';
import type { Digest } from '../../shared/image/digest.ts';
import type { PullStatus } from '../../shared/pull/status.ts';
import type { AgentEndpoint, RemoteEndpoint } from './endpoint.ts';
import { exchange } from './exchange.ts';

export interface CallOptions {
  signal?: AbortSignal;
}

/** A container that was just started, with the output that comes. */
export interface StartedContainer {
  id: string;
  /** What was asked for and is less on its node. */
  warnings: string[];
  /** Where in its log the output begins: see {@link AgentClient.containerLogs}. */
  from: number;
  output: AsyncIterable<OutputChunk>;
  /** How it ended, once the output has, and it is removed where that was asked for. */
  exit: () => ContainerExit | undefined;
}

/** The largest answer that is read whole: lists of snapshots and containers. */
const maxAnswerBytes = 64 * 1024 * 1024;

/** The typed client of one agent's API. Each call has a connection of its own, so that none waits for another. */
export class AgentClient {
  readonly #endpoint: AgentEndpoint;

  constructor(endpoint: AgentEndpoint) {
    this.#endpoint = endpoint;
  }

  health(options: CallOptions = {}): Promise<{ status: string; node: string; version: string }> {
    return this.#json('GET', '/v1/health', undefined, options);
  }

  /** Makes a container, which does not run yet. */
  createContainer(
    request: CreateContainerRequest,
    options: CallOptions = {},
  ): Promise<ContainerStatus> {
    return this.#json('POST', '/v1/containers', request, options);
  }

  /**
   * Makes a container and runs its command: resolves when it runs, and nothing of its output is missed.
   * @throws RUNTIME_FAILED with `context.exitCode`
   */
  async runContainer(
    request: CreateContainerRequest,
    options: CallOptions = {},
  ): Promise<StartedContainer> {
    const path = '/v1/containers/run';
    const { body, headers } = await this.#open('POST', path, options, request);
    const frames = decodeFrames(this.#translated(body, options.signal));
    const first = await frames.next();
    const message = first.done === true ? {} : messageIn(first.value);
    if (!('started' in message)) throw this.#unavailable(new Error('it did not say what it began'));
    let exit: ContainerExit | undefined;
    async function* read(): AsyncGenerator<OutputChunk> {
      for await (const frame of frames) {
        const { kind, bytes } = frame;
        if (kind === 'stdout' || kind === 'stderr') yield { stream: kind, bytes };
        else exit = (messageIn(frame) as Partial<ExitMessage>).exit;
      }
    }
    return {
      ...(message as StartedMessage).started,
      from: Number(headers[logStartHeader]),
      output: read(),
      exit: () => exit,
    };
  }

  /** Runs its command. @throws RUNTIME_FAILED with `context.exitCode` */
  startContainer(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    return this.#json('POST', `${containerPath(id)}/start`, undefined, options);
  }

  /** All containers, oldest first. */
  async listContainers(options: CallOptions = {}): Promise<ContainerStatus[]> {
    const { containers } = await this.#json<{ containers: ContainerStatus[] }>(
      'GET',
      '/v1/containers',
      undefined,
      options,
    );
    return containers;
  }

  inspectContainer(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    return this.#json('GET', containerPath(id), undefined, options);
  }

  /** @param signalName a name as SIGTERM, or a number */
  async killContainer(id: string, signalName: string, options: CallOptions = {}): Promise<void> {
    await this.#json('POST', `${containerPath(id)}/kill`, { signal: signalName }, options);
  }

  /**
   * Asks it to end, and kills it when it has not after its time. One that does not run is success.
   * @param options.timeout milliseconds, instead of its own
   */
  stopContainer(
    id: string,
    options: CallOptions & { timeout?: number } = {},
  ): Promise<ContainerExit> {
    const { timeout, ...call } = options;
    const body = timeout === undefined ? {} : { timeout };
    return this.#json('POST', `${containerPath(id)}/stop`, body, call);
  }

  /** Freezes it. */
  pauseContainer(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    return this.#json('POST', `${containerPath(id)}/pause`, undefined, options);
  }

  /** Lets it go on. */
  unpauseContainer(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    return this.#json('POST', `${containerPath(id)}/unpause`, undefined, options);
  }

  /** Waits until it has ended, however long that takes. */
  waitContainer(id: string, options: CallOptions = {}): Promise<ContainerExit> {
    return this.#json('GET', `${containerPath(id)}/wait`, undefined, options);
  }

  async removeContainer(
    id: string,
    options: CallOptions & { force?: boolean } = {},
  ): Promise<void> {
    const query = options.force === true ? '?force=true' : '';
    await this.#json('DELETE', `${containerPath(id)}${query}`, undefined, options);
  }

  /**
   * Runs a further process in a container; resolves when it runs.
   * @param input frames: standard input, and what else a caller may say.
   * @returns its output, and at the end the message how it ended
   */
  async execInContainer(
    id: string,
    request: ExecRequest,
    input: PassThrough,
    options: CallOptions = {},
  ): Promise<AsyncIterable<Frame>> {
    input.write(encodeControl(request));
    return await this.#frames(`${containerPath(id)}/exec`, input, options);
  }

  /**
   * Sends to the standard input of a running container; resolves when it is open.
   * @param input frames: standard input, and what else a caller may say
   * @returns ends when all of the input was handed over, or the container has ended
   */
  async containerInput(
    id: string,
    input: PassThrough,
    options: CallOptions = {},
  ): Promise<AsyncIterable<Frame>> {
    input.write(emptyFrame);
    return await this.#frames(`${containerPath(id)}/input`, input, options);
  }

  /** The exact bytes that it wrote, and where in the log they begin. Once this resolves, the agent holds the log open. */
  async containerLogs(
    id: string,
    options: CallOptions & LogRequest = {},
  ): Promise<{ from: number; output: AsyncIterable<OutputChunk> }> {
    const { signal, since, ...rest } = options;
    const query = queryOf({
      ...rest,
      ...(since === undefined ? {} : { since: since.toISOString() }),
    });
    const { body, headers } = await this.#open(
      'GET',
      `${containerPath(id)}/logs?${query}`,
      options,
    );
    const frames = decodeFrames(this.#translated(body, signal));
    return { from: Number(headers[logStartHeader]), output: outputOf(frames) };
  }

  /** What stands at a path in a container. @throws NOT_FOUND */
  async lookUpFile(
    id: string,
    request: { path: string; follow?: boolean },
    options: CallOptions = {},
  ): Promise<FoundFile> {
    return await this.#json(
      'GET',
      `${containerPath(id)}/file?${queryOf(request)}`,
      undefined,
      options,
    );
  }

  /** What stands at a path in a container, as a tar archive whose first entry has that name. @throws NOT_FOUND */
  async copyOut(
    id: string,
    request: { path: string; name: string; follow?: boolean },
    options: CallOptions = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    const path = `${containerPath(id)}/archive?${queryOf(request)}`;
    const { body } = await this.#open('GET', path, options);
    return this.#translated(body, options.signal);
  }

  /**
   * Writes a tar archive below a folder of a container.
   * @param request.name takes the place of the first part of each path; `.`: that part is left out
   * @param request.ids keep the owners that the archive has; otherwise all is root's
   */
  async copyIn(
    id: string,
    request: { path: string; name?: string; ids?: boolean },
    archive: Readable,
    options: CallOptions = {},
  ): Promise<void> {
    const path = `${containerPath(id)}/archive?${queryOf(request)}`;
    await this.#json('PUT', path, archive, options);
  }

  /** What each container that runs has used. */
  async stats(options: CallOptions = {}): Promise<ContainerStats[]> {
    const path = '/v1/stats';
    return (await this.#json<{ stats: ContainerStats[] }>('GET', path, undefined, options)).stats;
  }

  /** The processes of a container. @throws CONFLICT when it does not run */
  async listProcesses(id: string, options: CallOptions = {}): Promise<ProcessStatus[]> {
    const path = `${containerPath(id)}/processes`;
    const answer = await this.#json<{ processes: ProcessStatus[] }>(
      'GET',
      path,
      undefined,
      options,
    );
    return answer.processes;
  }

  /**
   * What happens to the node's containers. Once this resolves, nothing that happens from then on is missed.
   * @param request.after the id of the last event that is known; default: from now on, or from `since`
   * @returns with the id of the event behind which they begin
   */
  async events(
    { since, ...rest }: { after?: number; since?: Date; follow?: boolean },
    options: CallOptions = {},
  ): Promise<{ after: number; events: AsyncIterable<ContainerEvent> }> {
    const query = { ...rest, ...(since === undefined ? {} : { since: since.toISOString() }) };
    const { body, headers } = await this.#open('GET', `/v1/events?${queryOf(query)}`, options);
    const events = linesOf<ContainerEvent>(this.#translated(body, options.signal));
    return { after: Number(headers[eventStartHeader]), events };
  }

  /** Accepts a pull to the agent's node, as enqueuePull does. */
  async pull(request: PullHereRequest, options: CallOptions = {}): Promise<void> {
    await this.#json('POST', '/v1/pulls', request, options);
  }

  /** A pull each time that it has changed, until it has ended or the agent can't say more. */
  async *watchPull(id: string, options: CallOptions = {}): AsyncGenerator<PullStatus> {
    const { body } = await this.#open('GET', `/v1/pulls/${id}/events`, options);
    yield* linesOf<PullStatus>(this.#translated(body, options.signal), asDate);
  }

  /** The volumes with a name. */
  async listVolumes(options: CallOptions = {}): Promise<VolumeStatus[]> {
    const answer = await this.#json<{ volumes: VolumeStatus[] }>(
      'GET',
      '/v1/volumes',
      undefined,
      options,
    );
    return answer.volumes;
  }

  /** Removes one with all that is in it. @throws NOT_FOUND, CONFLICT when a container has it */
  async removeVolume(name: string, options: CallOptions = {}): Promise<void> {
    await this.#json('DELETE', `/v1/volumes/${encodeURIComponent(name)}`, undefined, options);
  }

  async listSnapshots(options: CallOptions = {}): Promise<SnapshotStatus[]> {
    const { snapshots } = await this.#json<{ snapshots: SnapshotStatus[] }>(
      'GET',
      '/v1/snapshots',
      undefined,
      options,
    );
    return snapshots;
  }

  async removeSnapshot(name: string, options: CallOptions = {}): Promise<void> {
    await this.#json('DELETE', `/v1/snapshots/${encodeURIComponent(name)}`, undefined, options);
  }

  /** Opens a writable snapshot of an image. */
  prepareSnapshot(
    request: { key: string; image: string },
    options: CallOptions = {},
  ): Promise<{ key: string; mounts: MountStatus[] }> {
    return this.#json('POST', '/v1/snapshots', request, options);
  }

  /** Unpacks an image whose manifest is in the store. */
  unpack(digest: Digest, options: CallOptions = {}): Promise<{ chainID?: string }> {
    return this.#json('POST', '/v1/unpack', { digest }, options);
  }

  /** Applies a layer to a folder of the node. @param target an absolute path */
  apply(
    layer: AsyncIterable<Uint8Array>,
    target: string,
    options: CallOptions = {},
  ): Promise<{ diffID: string }> {
    const query = new URLSearchParams({ target }).toString();
    return this.#json('POST', `/v1/apply?${query}`, Readable.from(layer), options);
  }

  async #frames(
    path: string,
    input: Readable,
    options: CallOptions,
  ): Promise<AsyncIterable<Frame>> {
    const { body } = await this.#open('POST', path, options, input);
    return decodeFrames(this.#translated(body, options.signal));
  }

  async #json<T>(
    method: string,
    path: string,
    body: object | undefined,
    options: CallOptions,
  ): Promise<T> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    const answer = await this.#open(method, path, options, body);
    for await (const chunk of this.#translated(answer.body, options.signal)) {
      bytes += chunk.length;
      if (bytes > maxAnswerBytes) throw this.#unavailable(new Error('its answer is too large'));
      chunks.push(chunk);
    }
    return (bytes === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString())) as T;
  }

  /** The body of an answer, whose connection closes with it. */
  async #open(
    method: string,
    path: string,
    { signal }: CallOptions,
    body?: object,
  ): Promise<{ body: AsyncIterable<Uint8Array>; headers: IncomingHttpHeaders }> {
    signal?.throwIfAborted();
    try {
      const { answer, close } = await exchange(this.#endpoint, { method, path, body, signal });
      if ((answer.statusCode ?? 0) >= 400) {
        const refusal = decodeAnswer(await text(answer));
        close();
        throw refusal;
      }
      return { body: closing(answer, close), headers: answer.headers };
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof DrayError ? error : this.#unavailable(error);
    }
  }

  async *#translated(
    source: AsyncIterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array> {
    try {
      yield* source;
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#unavailable(error);
    }
  }

  #unavailable(error: unknown): DrayError {
    if (!('socketPath' in this.#endpoint)) return unreachable(this.#endpoint, error);
    const { socketPath } = this.#endpoint;
    const errno = errnoOf(error);
    if (errno === 'EACCES') {
      return new DrayError('AGENT_UNAVAILABLE', `The agent at ${socketPath} is not yours to use`, {
        hint: 'Use sudo, or join the group of the socket.',
        cause: error,
      });
    }
    const isDown = errno === 'ENOENT' || errno === 'ECONNREFUSED';
    const why = isDown ? 'no agent listens there' : messageOf(error);
    return new DrayError(
      'AGENT_UNAVAILABLE',
      `The agent at ${socketPath} does not answer: ${why}`,
      {
        retryable: true,
        hint: 'dray status shows what runs; dray up starts it.',
        cause: error,
      },
    );
  }
}

function unreachable({ node, address }: RemoteEndpoint, error: unknown): DrayError {
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

async function* closing(
  body: AsyncIterable<Uint8Array>,
  close: () => void,
): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } finally {
    close();
  }
}

function messageIn({ kind, bytes }: Frame): object {
  return kind === 'control' ? (JSON.parse(Buffer.from(bytes).toString()) as object) : {};
}

function decodeAnswer(text: string): DrayError {
  try {
    return decodeError((JSON.parse(text) as { error: EncodedError }).error);
  } catch {
    return new DrayError('AGENT_UNAVAILABLE', `The agent answered: ${text.slice(0, 300)}`);
  }
}

async function* linesOf<T>(
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

/** The times of a PullStatus. */
function asDate(key: string, value: unknown): unknown {
  return /^(created|finished|asked)At$/.test(key) ? new Date(String(value)) : value;
}

function queryOf(request: object): string {
  return new URLSearchParams(
    Object.entries(request).map(([name, value]): [string, string] => [name, String(value)]),
  ).toString();
}

function containerPath(id: string): string {
  return `/v1/containers/${encodeURIComponent(id)}`;
}
