import type { LookupFunction } from 'node:net';
import { request } from 'undici';
import { DrayError } from '../../../shared/errors.ts';
import { traced } from '../../../shared/telemetry/trace.ts';
import { registryRequests } from '../metrics.ts';
import { addressRefused, isAllowed, literalOf } from './address.ts';
import { Agents, type Timeouts } from './agents.ts';
import { type Answer, discard } from './answer.ts';
import { networkError } from './network-error.ts';
import type { ProxyRule } from './proxy.ts';
import { Straight, type StraightOptions } from './straight.ts';
import { type TlsSettings, withoutClient } from './tls.ts';

export type { Timeouts } from './agents.ts';

const maxRedirects = 10;
/** Bytes of a body that wait for the reader. */
const bodyBuffer = 128 * 1024;

export interface TransportOptions {
  userAgent: string;
  timeouts: Timeouts;
  /** Certificates (PEM) that are trusted besides the system's. */
  ca?: string | undefined;
  lookup?: LookupFunction | undefined;
  /** Default: none. */
  proxy?: ProxyRule | undefined;
  /** Whether exchanges are counted and traced. */
  observed: boolean;
}

export interface Outgoing {
  method: 'GET' | 'HEAD' | 'POST';
  url: URL;
  headers?: Record<string, string>;
  body?: string | undefined;
  /** Goes to the origin of `url` only. */
  authorization?: string | undefined;
  /** Headers that are configured for the origin of `url`; they go nowhere else. */
  ownHeaders?: Record<string, string | string[]> | undefined;
  /** Whether loopback and private addresses may be connected to. */
  allowPrivate: boolean;
  /** Certificates of clients are shown to the origin of `url` only. */
  tls?: TlsSettings | undefined;
  /** Whether redirects are followed; default true. */
  follow?: boolean;
  signal?: AbortSignal | undefined;
}

interface Hop {
  url: URL;
  authorization: string | undefined;
  headers: Record<string, string | string[]>;
  tls: TlsSettings | undefined;
}

/**
 * Sends requests over kept connections. Redirects are followed by hand: each hop's address is checked at
 * connect, and neither the Authorization header nor a downgrade to http goes along.
 *
 * Through a proxy it is the proxy that connects: literal addresses and what this machine's own resolver says of a
 * name are checked before it is asked; what the proxy makes of a name is the proxy's to guard.
 */
export class Transport {
  readonly #options: TransportOptions;
  readonly #agents: Agents;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#agents = new Agents(options);
  }

  /** @throws REGISTRY_UNAVAILABLE, REGISTRY_PROTOCOL, ADDRESS_REFUSED */
  async send(outgoing: Outgoing): Promise<Answer> {
    const { authorization, ownHeaders = {}, tls } = outgoing;
    let hop: Hop = { url: outgoing.url, authorization, headers: ownHeaders, tls };
    let own: Answer['own'] | undefined;
    for (let hops = 0; ; hops++) {
      const answer = await this.#exchange(outgoing, hop);
      own ??= answer.headers;
      if (outgoing.follow === false || !isRedirect(answer.status)) return { ...answer, own };
      const next = nextHop(answer);
      await discard(answer.body);
      if (hops === maxRedirects) {
        throw new DrayError(
          'REGISTRY_PROTOCOL',
          `${outgoing.url.host} redirected more than ${maxRedirects} times, at last to ${next.host}`,
          { hint: 'The registry is misconfigured.', context: { host: outgoing.url.host } },
        );
      }
      hop =
        next.origin === hop.url.origin
          ? { ...hop, url: next }
          : { url: next, authorization: undefined, headers: {}, tls: tls && withoutClient(tls) };
    }
  }

  /** Breaks what is under way and closes every connection. */
  async close(): Promise<void> {
    await this.#agents.close();
  }

  async #exchange(outgoing: Outgoing, hop: Hop): Promise<Omit<Answer, 'own'>> {
    if (!this.#options.observed) return await this.#ask(outgoing, hop);
    const attributes = { 'server.address': hop.url.host, 'url.path': hop.url.pathname };
    return await traced(outgoing.method, { kind: 'client', attributes }, async (span) => {
      const answer = await this.#ask(outgoing, hop);
      registryRequests.inc({ code: answer.status });
      span.set({ 'http.response.status_code': answer.status });
      return answer;
    });
  }

  async #ask(
    outgoing: Outgoing,
    { url, authorization, headers, tls }: Hop,
  ): Promise<Omit<Answer, 'own'>> {
    const { method, allowPrivate, signal, body } = outgoing;
    const literal = literalOf(url);
    if (literal !== undefined && !isAllowed(literal, allowPrivate)) {
      throw addressRefused(url.host, literal);
    }
    const proxy = this.#options.proxy?.(url);
    try {
      const dispatcher =
        proxy === undefined
          ? this.#agents.direct(allowPrivate, tls)
          : await this.#agents.through(proxy, url, allowPrivate, tls);
      const straight = new Straight();
      const options: Parameters<typeof request>[1] & StraightOptions = {
        straight,
        method,
        dispatcher,
        headers: {
          ...headers,
          'user-agent': this.#options.userAgent,
          'accept-encoding': 'identity',
          ...outgoing.headers,
          ...(authorization === undefined ? {} : { authorization }),
        },
        ...(body === undefined ? {} : { body }),
        highWaterMark: bodyBuffer,
        signal: signal ?? null,
      };
      const answer = await request(url, options);
      const { statusCode: status, headers: received } = answer;
      return { status, headers: received, body: answer.body, straight, url };
    } catch (error) {
      throw networkError(error, `${method} ${url.pathname}`, url, signal, proxy);
    }
  }
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

function nextHop({ headers, url }: Pick<Answer, 'headers' | 'url'>): URL {
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
