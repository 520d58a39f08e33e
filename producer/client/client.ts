import type { z } from 'zod';
import type * as common from '../api/schemas/common.ts';
import type * as images from '../api/schemas/image.ts';
import type * as nodes from '../api/schemas/node.ts';
import type * as pulls from '../api/schemas/pull.ts';
import type * as queues from '../api/schemas/queue.ts';
import { readEvents } from './events.ts';

export type Pull = z.output<typeof pulls.pull>;
export type PullRequest = z.input<typeof pulls.pullRequest>;
export type PullList = z.output<typeof pulls.pullList>;
export type Image = z.output<typeof images.image>;
export type Node = z.output<typeof nodes.node>;
export type Queue = z.output<typeof queues.queue>;
export type Problem = z.output<typeof common.problem>;

/** What the API refused, or could not do. */
export class DrayageError extends Error {
  override readonly name = 'DrayageError';
  /** The stable code, as `REFERENCE_INVALID`; `UNREACHABLE` when no API answered. */
  readonly code: string;
  /** Of HTTP; 0 when no API answered. */
  readonly status: number;
  readonly retryable: boolean;
  /** What can be done. */
  readonly hint: string | undefined;

  constructor(problem: Omit<Problem, 'type' | 'title'>, options?: ErrorOptions) {
    super(problem.detail, options);
    this.code = problem.code;
    this.status = problem.status;
    this.retryable = problem.retryable;
    this.hint = problem.hint;
  }
}

export interface ClientOptions {
  /** Of `dray serve`, as in `http://127.0.0.1:7070`. */
  url: string;
  /** From `dray token create`. */
  token?: string;
  /** How often a request is tried again while the API is away or overloaded. Default 5. */
  retries?: number;
  /** Instead of the global one. */
  fetch?: typeof fetch;
}

interface CallOptions {
  signal?: AbortSignal;
}

const firstWait = 200;
const longestWait = 10_000;

/**
 * A client of drayage's HTTP API, on `fetch` alone. Requests are tried again while the API is away: a pull is
 * never created twice by that, since each carries an Idempotency-Key.
 */
export class DrayageClient {
  readonly #url: string;
  readonly #token: string | undefined;
  readonly #retries: number;
  readonly #fetch: typeof fetch;

  constructor(options: ClientOptions) {
    this.#url = options.url.replace(/\/+$/, '');
    this.#token = options.token;
    this.#retries = options.retries ?? 5;
    this.#fetch = options.fetch ?? fetch;
  }

  /**
   * Enqueues a pull. Once this resolves, it is not lost by the death of any process.
   * @param options.idempotencyKey of the caller's own, so that the caller too can try again
   * @throws DrayageError
   */
  async pull(
    request: PullRequest,
    options: CallOptions & { idempotencyKey?: string } = {},
  ): Promise<Pull> {
    const headers = { 'idempotency-key': options.idempotencyKey ?? crypto.randomUUID() };
    return await this.#json<Pull>('POST', '/v1/pulls', { body: request, headers, ...options });
  }

  /** A pull as it stands. @throws DrayageError */
  async getPull(id: string, options: CallOptions = {}): Promise<Pull> {
    return await this.#json<Pull>('GET', `/v1/pulls/${encodeURIComponent(id)}`, options);
  }

  /** One page of pulls, newest first; `cursor` is the `next` of the page before. @throws DrayageError */
  async listPulls(
    options: CallOptions & { limit?: number; cursor?: string } = {},
  ): Promise<PullList> {
    const query = new URLSearchParams();
    if (options.limit !== undefined) query.set('limit', String(options.limit));
    if (options.cursor !== undefined) query.set('cursor', options.cursor);
    return await this.#json<PullList>('GET', `/v1/pulls?${query}`, options);
  }

  /** Cancels a pull; again is no error. @throws DrayageError CONFLICT when it has ended */
  async cancelPull(id: string, options: CallOptions = {}): Promise<Pull> {
    const path = `/v1/pulls/${encodeURIComponent(id)}/cancel`;
    return await this.#json<Pull>('POST', path, options);
  }

  /**
   * Follows a pull: each state as it comes, the last one being `ready`, `failed` or `cancelled`. A stream that
   * breaks is taken up where it broke.
   * @throws DrayageError, or the signal's reason
   */
  async *waitForPull(id: string, options: CallOptions = {}): AsyncGenerator<Pull, void, undefined> {
    let last: string | undefined;
    let fruitless = 0;
    for (;;) {
      const response = await this.#request('GET', `/v1/pulls/${encodeURIComponent(id)}/events`, {
        headers: { accept: 'text/event-stream', ...(last && { 'last-event-id': last }) },
        ...options,
      });
      try {
        for await (const event of readEvents(response)) {
          if (event.name !== 'pull') continue;
          last = event.id ?? last;
          fruitless = 0;
          const pull = JSON.parse(event.data) as Pull;
          yield pull;
          if (['ready', 'failed', 'cancelled'].includes(pull.state)) return;
        }
      } catch (error) {
        options.signal?.throwIfAborted();
        if (fruitless >= this.#retries) throw unreachable(this.#url, error);
      }
      await wait(delayOf(fruitless++), options);
    }
  }

  /** The names of images in the store. @throws DrayageError */
  async listImages(options: CallOptions = {}): Promise<Image[]> {
    return (await this.#json<{ items: Image[] }>('GET', '/v1/images', options)).items;
  }

  /** @throws DrayageError */
  async listNodes(options: CallOptions = {}): Promise<Node[]> {
    return (await this.#json<{ items: Node[] }>('GET', '/v1/nodes', options)).items;
  }

  /** @throws DrayageError */
  async listQueues(options: CallOptions = {}): Promise<Queue[]> {
    return (await this.#json<{ items: Queue[] }>('GET', '/v1/queues', options)).items;
  }

  async #json<T>(method: string, path: string, options: RequestOptions): Promise<T> {
    return (await (await this.#request(method, path, options)).json()) as T;
  }

  /** Sends a request, again while the API is away or says that it may go better later. */
  async #request(
    method: string,
    path: string,
    { body, headers = {}, signal }: RequestOptions,
  ): Promise<Response> {
    const init: RequestInit = {
      method,
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    };
    for (let tries = 0; ; tries++) {
      let failure: DrayageError;
      let delay = delayOf(tries);
      try {
        const response = await this.#fetch(this.#url + path, init);
        if (response.ok) return response;
        failure = await refusal(response);
        const after = Number(response.headers.get('retry-after'));
        if (after > 0) delay = Math.min(after * 1000, longestWait);
        if (![429, 502, 503, 504].includes(response.status)) throw failure;
      } catch (error) {
        if (error instanceof DrayageError) throw error;
        signal?.throwIfAborted();
        failure = unreachable(this.#url, error);
      }
      if (tries >= this.#retries) throw failure;
      await wait(delay, { ...(signal === undefined ? {} : { signal }) });
    }
  }
}

interface RequestOptions extends CallOptions {
  body?: unknown;
  headers?: Record<string, string>;
}

async function refusal(response: Response): Promise<DrayageError> {
  const { status } = response;
  const text = await response.text();
  try {
    return new DrayageError(JSON.parse(text) as Problem);
  } catch {
    // Something between here and the API has answered.
    const detail = `${response.url} was answered ${status}: ${text.slice(0, 200)}`;
    return new DrayageError({ code: 'UNREACHABLE', status, detail, retryable: status >= 500 });
  }
}

function unreachable(url: string, cause: unknown): DrayageError {
  const reason = cause instanceof Error ? (cause.cause ?? cause) : cause;
  const detail = `${url} can't be reached: ${reason instanceof Error ? reason.message : reason}`;
  return new DrayageError({ code: 'UNREACHABLE', status: 0, detail, retryable: true }, { cause });
}

/** Milliseconds, doubling, half of them by chance. */
function delayOf(tries: number): number {
  const delay = Math.min(firstWait * 2 ** tries, longestWait);
  return delay / 2 + (Math.random() * delay) / 2;
}

async function wait(ms: number, { signal }: CallOptions): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const aborted = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', aborted);
      resolve();
    }, ms);
    signal?.addEventListener('abort', aborted, { once: true });
  });
}
