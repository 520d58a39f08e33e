import dns from 'node:dns';
import type { LookupFunction } from 'node:net';
import { Agent, buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici';
import { addressRefused, guardedLookup, isAllowed, literalOf } from './address.ts';
import { onread, readInPlace } from './in-place.ts';
import { straightOrCopied } from './straight.ts';
import { connectOptions, type TlsSettings, tlsKey } from './tls.ts';

/** Sets of connections at most; those that were not used for longest are closed when they are done. */
const maxAgents = 128;

/** One blob a connection: streams that share one would share its window and its fate. */
const allowH2 = false;

export interface Timeouts {
  /** Milliseconds until a connection stands. */
  connectMs: number;
  /** Milliseconds until the answer begins. */
  headersMs: number;
  /** Milliseconds of silence inside a body. */
  silenceMs: number;
}

export interface AgentOptions {
  timeouts: Timeouts;
  ca?: string | undefined;
  lookup?: LookupFunction | undefined;
}

/**
 * The kept connections: apart for each way of trusting a host, so that no connection that was allowed for one
 * registry serves another one.
 */
export class Agents {
  readonly #options: AgentOptions;
  readonly #agents = new Map<string, Dispatcher>();

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  /** Connections that are made here, to checked addresses only. */
  direct(allowPrivate: boolean, tls: TlsSettings | undefined): Dispatcher {
    return this.#agent(`direct ${allowPrivate} ${tlsKey(tls)}`, () => {
      const settings = this.#settings(tls);
      const options = {
        allowH2,
        lookup: guardedLookup(allowPrivate, this.#options.lookup),
        timeout: settings.connectMs,
        ...connectOptions(settings),
      };
      const secure = buildConnector(options);
      const plain = buildConnector({ ...options, onread });
      return new Agent({
        ...this.#poolOptions(),
        connect: (to, callback) => {
          if (to.protocol === 'https:') return secure(to, callback);
          plain(to, (...made) => {
            if (made[0] === null) readInPlace(made[1]);
            callback(...made);
          });
        },
      });
    });
  }

  /** Connections through a proxy, after the name was checked as far as it is known here. @throws ADDRESS_REFUSED */
  async through(
    proxy: URL,
    url: URL,
    allowPrivate: boolean,
    tls: TlsSettings | undefined,
  ): Promise<Dispatcher> {
    await this.#checkName(url, allowPrivate);
    return this.#agent(`${proxy.href} ${tlsKey(tls)}`, () => {
      const settings = this.#settings(tls);
      const timeout = settings.connectMs;
      const lookup = this.#options.lookup ?? (dns.lookup as LookupFunction);
      const pool = this.#poolOptions();
      return new ProxyAgent({
        ...pool,
        uri: proxy.href,
        connectTimeout: timeout,
        requestTls: connectOptions(settings),
        // A SOCKS proxy would be taken for one that speaks TLS.
        ...(isSocks(proxy) ? {} : { proxyTls: { lookup, ...connectOptions({ ca: this.#ca() }) } }),
        // The proxy answers to CONNECT when its connection stands.
        clientFactory: (origin, options) =>
          new Pool(origin, { ...pool, ...options, headersTimeout: timeout }),
        factory: (origin, options) => new Pool(origin, { ...pool, ...options }),
      });
    });
  }

  /** Breaks what is under way. */
  async close(): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.destroy()));
  }

  #agent(key: string, create: () => Dispatcher): Dispatcher {
    const agent = this.#agents.get(key) ?? create().compose(straightOrCopied);
    // The last one is the one that was used last.
    this.#agents.delete(key);
    this.#agents.set(key, agent);
    for (const [oldest, unused] of this.#agents) {
      if (this.#agents.size <= maxAgents) break;
      this.#agents.delete(oldest);
      unused.close().catch(() => {});
    }
    return agent;
  }

  #ca(): string[] {
    return this.#options.ca === undefined ? [] : [this.#options.ca];
  }

  #settings(tls: TlsSettings = {}): TlsSettings & { connectMs: number } {
    const { connectMs } = this.#options.timeouts;
    return { connectMs, ...tls, ca: [...this.#ca(), ...(tls.ca ?? [])] };
  }

  #poolOptions() {
    const { timeouts } = this.#options;
    return {
      allowH2,
      pipelining: 1,
      keepAliveTimeout: 15_000,
      headersTimeout: timeouts.headersMs,
      bodyTimeout: timeouts.silenceMs,
    };
  }

  async #checkName(url: URL, allowPrivate: boolean): Promise<void> {
    if (literalOf(url) !== undefined) return;
    const lookup = this.#options.lookup ?? (dns.lookup as LookupFunction);
    const found = await new Promise<{ address: string }[]>((resolve) => {
      lookup(url.hostname, { all: true }, (error, addresses) => {
        // A name that only the proxy knows.
        resolve(error === null && Array.isArray(addresses) ? addresses : []);
      });
    });
    const refused = found.find(({ address }) => !isAllowed(address, allowPrivate));
    if (refused !== undefined) throw addressRefused(url.hostname, refused.address);
  }
}

function isSocks(proxy: URL): boolean {
  return proxy.protocol === 'socks5:';
}
