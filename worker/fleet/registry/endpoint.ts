import { DrayError } from '../../../shared/errors.ts';
import { defaultRegistry } from '../../../shared/image/reference.ts';
import { isLoopbackHost } from './address.ts';
import { discard } from './answer.ts';
import { mayBePlainHttp } from './network-error.ts';
import type { Transport } from './transport.ts';

const defaultRegistryHost = 'registry-1.docker.io';
const probeMs = 3_000;

/** Where a registry is spoken to. */
export interface Endpoint {
  /** As references name it. */
  registry: string;
  base: URL;
  /** Whether its requests, and where they are redirected to, may go to loopback and private addresses. */
  allowPrivate: boolean;
}

export interface EndpointRules {
  /** Registries that are spoken to by plain http; being named here allows private addresses too. */
  plainHttp: (registry: string) => boolean;
  allowPrivate: (registry: string) => boolean;
}

/** Finds out how registries are spoken to, and remembers it. */
export class Endpoints {
  readonly #rules: EndpointRules;
  readonly #transport: Transport;
  readonly #loopback = new Map<string, Endpoint>();

  constructor(rules: EndpointRules, transport: Transport) {
    this.#rules = rules;
    this.#transport = transport;
  }

  /** Https; plain http where it is configured, and on this machine where https is not spoken. */
  async find(registry: string, options: { signal?: AbortSignal | undefined }): Promise<Endpoint> {
    const secure = baseOf(registry, 'https:');
    if (this.#rules.plainHttp(registry)) {
      return { registry, base: baseOf(registry, 'http:'), allowPrivate: true };
    }
    if (!isLoopbackHost(secure)) {
      return { registry, base: secure, allowPrivate: this.#rules.allowPrivate(registry) };
    }
    const known = this.#loopback.get(registry);
    if (known !== undefined) return known;
    const base = (await this.#speaksTLS(secure, options)) ? secure : baseOf(registry, 'http:');
    const endpoint = { registry, base, allowPrivate: true };
    this.#loopback.set(registry, endpoint);
    return endpoint;
  }

  /** Forgets what was found, after a failure: another server may stand there now. */
  forget(registry: string): void {
    this.#loopback.delete(registry);
  }

  async #speaksTLS(base: URL, options: { signal?: AbortSignal | undefined }): Promise<boolean> {
    const deadline = AbortSignal.timeout(probeMs);
    const signal =
      options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]);
    try {
      const url = new URL('/v2/', base);
      const sent = { method: 'GET', url, allowPrivate: true, follow: false, signal } as const;
      await discard((await this.#transport.send(sent)).body);
      return true;
    } catch (error) {
      if (mayBePlainHttp(error)) return false;
      throw error;
    }
  }
}

function baseOf(registry: string, protocol: 'https:' | 'http:'): URL {
  const host = registry === defaultRegistry ? defaultRegistryHost : registry;
  const url = URL.parse(`${protocol}//${host}/`);
  if (url !== null) return url;
  throw new DrayError('REFERENCE_INVALID', `"${registry}" is not a host that can be connected to`, {
    hint: 'Check the name and the port of the registry.',
  });
}
