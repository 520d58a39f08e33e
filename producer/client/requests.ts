import { DrayageError, refusal, unreachable } from './error.ts';

export interface ClientOptions {
  /** Of `dray serve`, as in `http://127.0.0.1:7070`. */
  url: string;
  /** From `dray token create`. */
  token?: string | undefined;
  /** How often a request is tried again while the API is away or overloaded. Default 5. */
  retries?: number;
  /** Instead of the global one: with a proxy, or a client certificate. */
  fetch?: typeof fetch;
}

export interface CallOptions {
  signal?: AbortSignal;
}

export interface RequestOptions extends CallOptions {
  body?: unknown;
  headers?: Record<string, string>;
  /** It has more effect twice than once: what may have been done is not asked for again. */
  once?: boolean;
}

const firstWait = 200;
const longestWait = 10_000;
/** What may go better a moment later (RFC 9110, section 15). */
const passing = [429, 502, 503, 504];

/** Sends requests, again while the API is away. Twice has the same effect as once, unless the options say otherwise. */
export class Requests {
  readonly url: string;
  readonly retries: number;
  readonly #token: string | undefined;
  readonly #fetch: typeof fetch;

  constructor(options: ClientOptions) {
    this.url = options.url.replace(/\/+$/, '');
    this.retries = options.retries ?? 5;
    this.#token = options.token;
    this.#fetch = options.fetch ?? fetch;
  }

  /** @throws DrayageError, or the signal's reason */
  async json<T>(
    method: string,
    path: string,
    options: RequestOptions,
    trying?: () => void,
  ): Promise<T> {
    return (await (await this.send(method, path, options, trying)).json()) as T;
  }

  /** All items of a list, page by page. @throws as {@link json} */
  async *items<T>(path: string, options: CallOptions): AsyncGenerator<T, void, undefined> {
    let cursor: string | undefined;
    do {
      const query = cursor === undefined ? '' : `?cursor=${encodeURIComponent(cursor)}`;
      const page = await this.json<{ items: T[]; next?: string }>('GET', path + query, options);
      yield* page.items;
      cursor = page.next;
    } while (cursor !== undefined);
  }

  /** Removes something; what an answer that was lost had removed already is no error. @throws as {@link json} */
  async remove(path: string, options: CallOptions): Promise<void> {
    let tries = 0;
    try {
      await this.send('DELETE', path, options, () => tries++);
    } catch (error) {
      if (tries > 1 && error instanceof DrayageError && error.status === 404) return;
      throw error;
    }
  }

  /** The answer, once it is none that may go better later. @throws as {@link json} */
  async send(
    method: string,
    path: string,
    { body, headers = {}, once = false, signal }: RequestOptions,
    trying = () => {},
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
      trying();
      try {
        const response = await this.#fetch(this.url + path, init);
        if (response.ok) return response;
        failure = await refusal(response);
        const after = Number(response.headers.get('retry-after'));
        if (after > 0) delay = Math.min(after * 1000, longestWait);
        // Overloaded: it was not begun.
        if (once ? response.status !== 429 : !passing.includes(response.status)) throw failure;
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof DrayageError) throw error;
        failure = unreachable(this.url, error);
      }
      if (tries >= this.retries || (once && failure.status === 0)) throw failure;
      await wait(delay, { ...(signal === undefined ? {} : { signal }) });
    }
  }
}

/** Milliseconds, doubling, half of them by chance. */
export function delayOf(tries: number): number {
  const delay = Math.min(firstWait * 2 ** tries, longestWait);
  return delay / 2 + (Math.random() * delay) / 2;
}

/** @throws the signal's reason */
export async function wait(ms: number, { signal }: CallOptions): Promise<void> {
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
