import type { LookupFunction } from 'node:net';
import { getCACertificates } from 'node:tls';
import { Agent, request } from 'undici';
import { DrayError } from '../../../shared/errors.ts';
import { addressRefused, guardedLookup, isAllowed, literalOf } from './address.ts';
import { type Answer, discard } from './answer.ts';
import { networkError } from './network-error.ts';

const maxRedirects = 10;
/** Bytes of a body that wait for the reader. */
const bodyBuffer = 1024 * 1024;

export interface Timeouts {
  /** Milliseconds until a connection stands. */
  connectMs: number;
  /** Milliseconds until the answer begins. */
  headersMs: number;
  /** Milliseconds of silence inside a body. */
  silenceMs: number;
}

export interface TransportOptions {
  userAgent: string;
  timeouts: Timeouts;
  /** Certificates (PEM) that are trusted besides the system's. */
  ca?: string | undefined;
  lookup?: LookupFunction | undefined;
}

export interface Outgoing {
  method: 'GET' | 'HEAD';
  url: URL;
  headers?: Record<string, string>;
  /** Goes to the origin of `url` only. */
  authorization?: string | undefined;
  /** Whether loopback and private addresses may be connected to. */
  allowPrivate: boolean;
  /** Whether redirects are followed; default true. */
  follow?: boolean;
  signal?: AbortSignal | undefined;
}

/**
 * Sends requests over kept connections. Redirects are followed by hand: each hop's address is checked at
 * connect, and neither the Authorization header nor a downgrade to http goes along.
 */
export class Transport {
  readonly #options: TransportOptions;
  /** Apart, so that no connection that was allowed for one registry serves another one. */
  readonly #agents: { public: Agent; private: Agent };

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#agents = { public: createAgent(options, false), private: createAgent(options, true) };
  }

  /** @throws REGISTRY_UNAVAILABLE, REGISTRY_PROTOCOL, ADDRESS_REFUSED */
  async send(outgoing: Outgoing): Promise<Answer> {
    let { url, authorization } = outgoing;
    for (let hop = 0; ; hop++) {
      const answer = await this.#exchange(outgoing, url, authorization);
      if (outgoing.follow === false || !isRedirect(answer.status)) return answer;
      const next = nextHop(answer);
      await discard(answer.body);
      if (hop === maxRedirects) {
        throw new DrayError(
          'REGISTRY_PROTOCOL',
          `${outgoing.url.host} redirected more than ${maxRedirects} times, at last to ${next.host}`,
          { hint: 'The registry is misconfigured.', context: { host: outgoing.url.host } },
        );
      }
      if (next.origin !== url.origin) authorization = undefined;
      url = next;
    }
  }

  /** Breaks what is under way and closes every connection. */
  async close(): Promise<void> {
    await Promise.all([this.#agents.public.destroy(), this.#agents.private.destroy()]);
  }

  async #exchange(
    outgoing: Outgoing,
    url: URL,
    authorization: string | undefined,
  ): Promise<Answer> {
    const { method, allowPrivate, signal } = outgoing;
    const literal = literalOf(url);
    if (literal !== undefined && !isAllowed(literal, allowPrivate)) {
      throw addressRefused(url.host, literal);
    }
    try {
      const { statusCode, headers, body } = await request(url, {
        method,
        dispatcher: allowPrivate ? this.#agents.private : this.#agents.public,
        headers: {
          'user-agent': this.#options.userAgent,
          'accept-encoding': 'identity',
          ...outgoing.headers,
          ...(authorization === undefined ? {} : { authorization }),
        },
        highWaterMark: bodyBuffer,
        signal: signal ?? null,
      });
      return { status: statusCode, headers, body, url };
    } catch (error) {
      throw networkError(error, `${method} ${url.pathname}`, url, signal);
    }
  }
}

function createAgent(options: TransportOptions, allowPrivate: boolean): Agent {
  const { timeouts, ca, lookup } = options;
  return new Agent({
    connect: {
      lookup: guardedLookup(allowPrivate, lookup),
      timeout: timeouts.connectMs,
      ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }),
    },
    // One blob a connection: streams that share one would share its window and its fate.
    allowH2: false,
    pipelining: 1,
    keepAliveTimeout: 15_000,
    headersTimeout: timeouts.headersMs,
    bodyTimeout: timeouts.silenceMs,
  });
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

function nextHop({ headers, url }: Answer): URL {
  const next = URL.parse(headers.location ?? '', url.href);
  const refuse = (why: string) =>
    new DrayError('REGISTRY_PROTOCOL', `${url.host} redirected ${why}`, {
      hint: 'The registry is misconfigured, or somebody is in between.',
      context: { host: url.host },
    });
  if (headers.location === undefined || next === null) throw refuse('to nowhere');
  if (next.protocol !== 'https:' && next.protocol !== 'http:') {
    throw refuse(`to ${next.protocol.slice(0, 20)}, which is no web address`);
  }
  if (url.protocol === 'https:' && next.protocol === 'http:') {
    throw refuse(`from https to plain http at ${next.host}`);
  }
  next.username = '';
  next.password = '';
  next.hash = '';
  return next;
}
