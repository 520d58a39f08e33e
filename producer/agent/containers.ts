import type { PassThrough, Readable } from 'node:stream';
import {
  type ContainerExit,
  type ContainerStatus,
  type CreateContainerRequest,
  type FoundFile,
  type LogRequest,
  logStartHeader,
  type OutputChunk,
  type StartedMessage,
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
import { type AgentConnection, type CallOptions, linesOf } from './connection.ts';

/** A container that was just started, with the output that comes. */
export interface StartedContainer {
  id: string;
  /** What was asked for and is less on its node. */
  warnings: string[];
  /** Where in its log the output begins: see {@link AgentContainers.logs}. */
  from: number;
  output: AsyncIterable<OutputChunk>;
  /** How it ended, once the output has, and it is removed where that was asked for. */
  exit: () => ContainerExit | undefined;
}

const collection = '/v1/containers';

/** The containers of an agent's node: {@link AgentClient.containers}. */
export class AgentContainers {
  readonly #agent: AgentConnection;

  constructor(agent: AgentConnection) {
    this.#agent = agent;
  }

  /** All of them, oldest first. */
  async list(options: CallOptions = {}): Promise<ContainerStatus[]> {
    type Answer = { containers: ContainerStatus[] };
    return (await this.#agent.json<Answer>('GET', collection, undefined, options)).containers;
  }

  inspect(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    return this.#agent.json('GET', pathOf(id), undefined, options);
  }

  /** Makes a container, which does not run yet. */
  create(request: CreateContainerRequest, options: CallOptions = {}): Promise<ContainerStatus> {
    return this.#agent.json('POST', collection, request, options);
  }

  /**
   * Makes a container and runs its command: resolves when it runs, and nothing of its output is missed.
   * @throws RUNTIME_FAILED with `context.exitCode`
   */
  async run(request: CreateContainerRequest, options: CallOptions = {}): Promise<StartedContainer> {
    const { body, headers } = await this.#agent.open('POST', `${collection}/run`, request, options);
    const frames = decodeFrames(body);
    const first = await frames.next();
    const message = first.done === true ? {} : messageIn(first.value);
    if (!('started' in message)) {
      throw this.#agent.unavailable(new Error('it did not say what it began'));
    }
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
  start(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    return this.#agent.json('POST', `${pathOf(id)}/start`, undefined, options);
  }

  /** Freezes it. */
  pause(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    return this.#agent.json('POST', `${pathOf(id)}/pause`, undefined, options);
  }

  /** Lets it go on. */
  unpause(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    return this.#agent.json('POST', `${pathOf(id)}/unpause`, undefined, options);
  }

  /**
   * Asks it to end, and kills it when it has not after its time. One that does not run is success.
   * @param options.timeout milliseconds, instead of its own
   */
  stop(id: string, options: CallOptions & { timeout?: number } = {}): Promise<ContainerExit> {
    const { timeout, ...call } = options;
    const body = timeout === undefined ? {} : { timeout };
    return this.#agent.json('POST', `${pathOf(id)}/stop`, body, call);
  }

  /** @param signalName a name as SIGTERM, or a number */
  async kill(id: string, signalName: string, options: CallOptions = {}): Promise<void> {
    await this.#agent.json('POST', `${pathOf(id)}/kill`, { signal: signalName }, options);
  }

  /** Waits until it has ended, however long that takes. */
  wait(id: string, options: CallOptions = {}): Promise<ContainerExit> {
    return this.#agent.json('GET', `${pathOf(id)}/wait`, undefined, options);
  }

  /** What it wrote goes with it. @param options.force also one that runs */
  async remove(id: string, options: CallOptions & { force?: boolean } = {}): Promise<void> {
    const { force, ...call } = options;
    const query = force === true ? '?force=true' : '';
    await this.#agent.json('DELETE', `${pathOf(id)}${query}`, undefined, call);
  }

  /**
   * Runs a further process in a container; resolves when it runs.
   * @param input frames: standard input, and what else a caller may say.
   * @returns its output, and at the end the message how it ended
   */
  async exec(
    id: string,
    request: ExecRequest,
    input: PassThrough,
    options: CallOptions = {},
  ): Promise<AsyncIterable<Frame>> {
    input.write(encodeControl(request));
    return await this.#agent.frames(`${pathOf(id)}/exec`, input, options);
  }

  /**
   * Sends to the standard input of a running container; resolves when it is open.
   * @param input frames: standard input, and what else a caller may say
   * @returns ends when all of the input was handed over, or the container has ended
   */
  async input(
    id: string,
    input: PassThrough,
    options: CallOptions = {},
  ): Promise<AsyncIterable<Frame>> {
    input.write(emptyFrame);
    return await this.#agent.frames(`${pathOf(id)}/input`, input, options);
  }

  /** The exact bytes that it wrote, and where in the log they begin. Once this resolves, the agent holds the log open. */
  async logs(
    id: string,
    { signal, ...request }: CallOptions & LogRequest = {},
  ): Promise<{ from: number; output: AsyncIterable<OutputChunk> }> {
    const path = `${pathOf(id)}/logs?${queryOf(request)}`;
    const call = signal === undefined ? {} : { signal };
    const { body, headers } = await this.#agent.open('GET', path, undefined, call);
    return { from: Number(headers[logStartHeader]), output: outputOf(decodeFrames(body)) };
  }

  /** What stands at a path in it. @throws NOT_FOUND */
  async findFile(
    id: string,
    request: { path: string; follow?: boolean },
    options: CallOptions = {},
  ): Promise<FoundFile> {
    const path = `${pathOf(id)}/file?${queryOf(request)}`;
    return await this.#agent.json('GET', path, undefined, options);
  }

  /** What stands at a path in it, as a tar archive whose first entry has that name. @throws NOT_FOUND */
  async copyOut(
    id: string,
    request: { path: string; name: string; follow?: boolean },
    options: CallOptions = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    const path = `${pathOf(id)}/archive?${queryOf(request)}`;
    return (await this.#agent.open('GET', path, undefined, options)).body;
  }

  /**
   * Writes a tar archive below a folder of it.
   * @param request.name takes the place of the first part of each path; `.`: that part is left out
   * @param request.ids keep the owners that the archive has; otherwise all is root's
   */
  async copyIn(
    id: string,
    request: { path: string; name?: string; ids?: boolean },
    archive: Readable,
    options: CallOptions = {},
  ): Promise<void> {
    const path = `${pathOf(id)}/archive?${queryOf(request)}`;
    await this.#agent.json('PUT', path, archive, options);
  }

  /** What each container that runs has used. */
  async stats(options: CallOptions = {}): Promise<ContainerStats[]> {
    type Answer = { stats: ContainerStats[] };
    return (await this.#agent.json<Answer>('GET', '/v1/stats', undefined, options)).stats;
  }

  /** Its processes. @throws CONFLICT when it does not run */
  async processes(id: string, options: CallOptions = {}): Promise<ProcessStatus[]> {
    type Answer = { processes: ProcessStatus[] };
    const path = `${pathOf(id)}/processes`;
    return (await this.#agent.json<Answer>('GET', path, undefined, options)).processes;
  }

  /**
   * What happens to the node's containers. Once this resolves, nothing that happens from then on is missed.
   * @param request.after the id of the last event that is known; default: from now on, or from `since`
   * @returns with the id of the event behind which they begin
   */
  async events(
    request: { after?: number; since?: Date; follow?: boolean },
    options: CallOptions = {},
  ): Promise<{ after: number; events: AsyncIterable<ContainerEvent> }> {
    const path = `/v1/events?${queryOf(request)}`;
    const { body, headers } = await this.#agent.open('GET', path, undefined, options);
    return { after: Number(headers[eventStartHeader]), events: linesOf<ContainerEvent>(body) };
  }
}

function messageIn({ kind, bytes }: Frame): object {
  return kind === 'control' ? (JSON.parse(Buffer.from(bytes).toString()) as object) : {};
}

/** Of what is asked for; times as RFC 3339 has them. */
function queryOf(request: object): string {
  return new URLSearchParams(
    Object.entries(request).map(([name, value]): [string, string] => [
      name,
      value instanceof Date ? value.toISOString() : String(value),
    ]),
  ).toString();
}

function pathOf(id: string): string {
  return `${collection}/${encodeURIComponent(id)}`;
}
