import type {
  Container,
  ContainerExit,
  ContainerList,
  ExecRequest,
  ExecResult,
  KillRequest,
  RunRequest,
  StopRequest,
} from './api.ts';
import { DrayageError } from './error.ts';
import { type CallOptions, delayOf, type Requests, wait } from './requests.ts';

/** What of a container's output is wanted. */
export interface LogOptions extends CallOptions {
  /** Goes on until the container has ended. */
  follow?: boolean;
  /** With the time, in UTC, in front of each line. */
  timestamps?: boolean;
  /** What was written since then. */
  since?: Date;
  /** So many lines before the end. */
  tail?: number;
  /** Default: both. */
  stream?: 'stdout' | 'stderr';
}

/** The containers of one node: {@link DrayageClient.containers}. */
export class NodeContainers {
  readonly #requests: Requests;
  readonly #path: string;

  constructor(requests: Requests, node: string) {
    this.#requests = requests;
    this.#path = `/v1/nodes/${encodeURIComponent(node)}/containers`;
  }

  /** All of them, oldest first. */
  async list(options: CallOptions = {}): Promise<Container[]> {
    return (await this.#requests.json<ContainerList>('GET', this.#path, options)).items;
  }

  async get(id: string, options: CallOptions = {}): Promise<Container> {
    return await this.#requests.json('GET', this.#of(id), options);
  }

  /** Makes a container of an image that the node holds, and starts it, unless the request says not to. */
  async run(request: RunRequest, options: CallOptions = {}): Promise<Container> {
    const { id = crypto.randomUUID().slice(-12) } = request;
    const body = { ...request, id };
    return await this.#again(
      (trying) => this.#requests.json('POST', this.#path, { body, ...options }, trying),
      async () => {
        const made = await this.get(id, options);
        const isWhole = made.state !== 'created' || request.start === false;
        return isWhole ? made : await this.start(id, options);
      },
    );
  }

  /** For the first time or again. */
  async start(id: string, options: CallOptions = {}): Promise<Container> {
    return await this.#change(id, 'start', options);
  }

  /** Freezes it. */
  async pause(id: string, options: CallOptions = {}): Promise<Container> {
    return await this.#change(id, 'pause', options);
  }

  /** Lets it go on. */
  async unpause(id: string, options: CallOptions = {}): Promise<Container> {
    return await this.#change(id, 'unpause', options);
  }

  /** Asks it to end, and kills it when it has not after its time. One that does not run is success. */
  async stop(id: string, options: CallOptions & StopRequest = {}): Promise<ContainerExit> {
    const { timeoutMs, ...call } = options;
    const body = timeoutMs === undefined ? {} : { timeoutMs };
    return await this.#requests.json('POST', `${this.#of(id)}/stop`, { body, ...call });
  }

  /** Waits until it has ended, however long that takes. */
  async wait(id: string, options: CallOptions = {}): Promise<ContainerExit> {
    for (let failures = 0; ; ) {
      try {
        // An answer that it has not ended yet needs no pause before it is asked again.
        const request = { once: true, ...options };
        return await this.#requests.json('GET', `${this.#of(id)}/wait`, request);
      } catch (error) {
        if (!(error instanceof DrayageError && error.retryable)) throw error;
        if (error.code === 'TIMEOUT') {
          failures = 0;
          continue;
        }
        if (failures >= this.#requests.retries) throw error;
        await wait(delayOf(failures++), options);
      }
    }
  }

  /** Runs a further command in it, which is not begun twice. One that fails says so by its exit code. */
  async exec(id: string, request: ExecRequest, options: CallOptions = {}): Promise<ExecResult> {
    const call = { body: request, once: true, ...options };
    return await this.#requests.json('POST', `${this.#of(id)}/exec`, call);
  }

  /** Sends a signal to its first process: a name, or a number. */
  async kill(id: string, name = 'SIGKILL', options: CallOptions = {}): Promise<void> {
    const body: KillRequest = { signal: name };
    await this.#requests.send('POST', `${this.#of(id)}/kill`, { body, once: true, ...options });
  }

  /** What it wrote goes with it. @param options.force also one that runs */
  async remove(id: string, options: CallOptions & { force?: boolean } = {}): Promise<void> {
    const { force = false, ...call } = options;
    await this.#requests.remove(`${this.#of(id)}${force ? '?force=true' : ''}`, call);
  }

  /** The bytes that it wrote. */
  async logs(id: string, options: LogOptions = {}): Promise<ReadableStream<Uint8Array>> {
    const { signal, since, ...rest } = options;
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...rest, since: since?.toISOString() })) {
      if (value !== undefined) query.set(name, String(value));
    }
    const { body } = await this.#requests.send('GET', `${this.#of(id)}/logs?${query}`, {
      headers: { accept: 'text/plain' },
      ...(signal === undefined ? {} : { signal }),
    });
    return body ?? new ReadableStream({ start: (controller) => controller.close() });
  }

  async #change(id: string, verb: string, options: CallOptions): Promise<Container> {
    return await this.#again(
      (trying) => this.#requests.json('POST', `${this.#of(id)}/${verb}`, options, trying),
      () => this.get(id, options),
    );
  }

  /** What an answer that was lost had done already is no error. */
  async #again(
    send: (trying: () => void) => Promise<Container>,
    found: () => Promise<Container>,
  ): Promise<Container> {
    let tries = 0;
    try {
      return await send(() => tries++);
    } catch (error) {
      const isDone = tries > 1 && error instanceof DrayageError && error.code === 'CONFLICT';
      if (!isDone) throw error;
      return await found();
    }
  }

  #of(id: string): string {
    return `${this.#path}/${encodeURIComponent(id)}`;
  }
}
