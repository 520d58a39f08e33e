import { DrayError } from '../../../shared/errors.ts';
import { defaultRegistry } from '../../../shared/image/reference.ts';
import { isLoopbackHost } from './address.ts';
import { discard } from './answer.ts';
import type { ConfiguredHost, RegistryHosts } from './hosts/hosts.ts';
import type { Capability } from './hosts/hosts-toml.ts';
import { mayBePlainHttp } from './network-error.ts';
import type { TlsSettings } from './tls.ts';
import type { Transport } from './transport.ts';

const defaultRegistryHost = 'registry-1.docker.io';
const probeMs = 3_000;
/** Milliseconds for which a mirror that could not be reached comes after the others. */
const restMs = 30_000;

/** Where a registry is spoken to. */
export interface Endpoint {
  /** Whose credentials count: the registry as references name it, or a mirror's host. */
  registry: string;
  /** The root of the API, without a slash at its end. */
  base: URL;
  /** Whether its requests, and where they are redirected to, may go to loopback and private addresses. */
  allowPrivate: boolean;
  /** The registry that a mirror stands for, said to it as the `ns` of each request. */
  namespace?: string;
  headers?: Record<string, string[]>;
  tls?: TlsSettings | undefined;
}

export interface EndpointRules {
  /** Registries that are spoken to by plain http; being named here allows private addresses too. */
  plainHttp: (registry: string) => boolean;
  allowPrivate: (registry: string) => boolean;
  hosts: RegistryHosts;
}

/** Finds out how registries are spoken to, and remembers it. */
export class Endpoints {
  readonly #rules: EndpointRules;
  readonly #transport: Transport;
  /** Registries on this machine, whose protocol was tried out. */
  readonly #loopback = new Map<string, 'https:' | 'http:'>();
  /** Mirrors that failed, and until when they rest (by performance.now()). */
  readonly #resting = new Map<string, number>();

  constructor(rules: EndpointRules, transport: Transport) {
    this.#rules = rules;
    this.#transport = transport;
  }

  /**
   * The places that may have what is asked for, in order: the mirrors that can do it, then the registry itself.
   * @param options.mirrors false: the registry alone
   */
  async *find(
    registry: string,
    capability: Capability,
    options: { signal?: AbortSignal | undefined; mirrors?: boolean | undefined },
  ): AsyncGenerator<Endpoint> {
    const configured = await this.#rules.hosts.find(registry);
    const own = configured?.at(-1);
    if (options.mirrors !== false) {
      const mirrors = (configured ?? [])
        .slice(0, -1)
        .filter(({ capabilities }) => capabilities.includes(capability))
        .flatMap((host) => (host.url === undefined ? [] : [{ ...host, url: host.url }]));
      const rests = ({ url }: { url: URL }) => this.#rests(url);
      const order = [...mirrors.filter((host) => !rests(host)), ...mirrors.filter(rests)];
      for (const host of order) yield configuredEndpoint(host.url, host, registry);
    }
    if (own === undefined) yield await this.#own(registry, undefined, options);
    else if (own.capabilities.includes(capability)) {
      yield own.url === undefined
        ? await this.#own(registry, own, options)
        : configuredEndpoint(own.url, own, registry);
    }
  }

  /** Takes notice of a failure of the connection: another server may stand there now. */
  failed({ registry, base, namespace }: Endpoint): void {
    this.#loopback.delete(registry);
    if (namespace !== undefined) this.#resting.set(base.origin, performance.now() + restMs);
  }

  #rests(url: URL): boolean {
    const until = this.#resting.get(url.origin);
    if (until === undefined) return false;
    if (until > performance.now()) return true;
    this.#resting.delete(url.origin);
    return false;
  }

  /** Https; plain http where it is configured, and on this machine where https is not spoken. */
  async #own(
    registry: string,
    host: ConfiguredHost | undefined,
    options: { signal?: AbortSignal | undefined },
  ): Promise<Endpoint> {
    const secure = baseOf(registry, 'https:');
    const { tls, headers = {} } = host ?? {};
    const settings = { registry, headers, ...(tls === undefined ? {} : { tls }) };
    if (this.#rules.plainHttp(registry)) {
      return { ...settings, base: baseOf(registry, 'http:'), allowPrivate: true };
    }
    if (!isLoopbackHost(secure)) {
      return { ...settings, base: secure, allowPrivate: this.#rules.allowPrivate(registry) };
    }
    let protocol = this.#loopback.get(registry);
    if (protocol === undefined) {
      protocol = (await this.#speaksTls(secure, tls, options)) ? 'https:' : 'http:';
      this.#loopback.set(registry, protocol);
    }
    return { ...settings, base: baseOf(registry, protocol), allowPrivate: true };
  }

  async #speaksTls(
    base: URL,
    tls: TlsSettings | undefined,
    options: { signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    const deadline = AbortSignal.timeout(probeMs);
    const signal =
      options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]);
    try {
      const url = new URL('/v2/', base);
      const sent = { method: 'GET', url, tls, allowPrivate: true, follow: false, signal } as const;
      await discard((await this.#transport.send(sent)).body);
      return true;
    } catch (error) {
      if (mayBePlainHttp(error)) return false;
      throw error;
    }
  }
}

/** Who names a host in a configuration allows what it is: private addresses, and plain http. */
function configuredEndpoint(base: URL, host: ConfiguredHost, registry: string): Endpoint {
  const { headers, tls } = host;
  const isOwn = base.host === URL.parse(`${base.protocol}//${hostOf(registry)}`)?.host;
  return {
    ...{ base, headers, allowPrivate: true },
    registry: isOwn ? registry : base.host,
    ...(isOwn ? {} : { namespace: registry }),
    ...(tls === undefined ? {} : { tls }),
  };
}

function hostOf(registry: string): string {
  return registry === defaultRegistry ? defaultRegistryHost : registry;
}

function baseOf(registry: string, protocol: 'https:' | 'http:'): URL {
  const url = URL.parse(`${protocol}//${hostOf(registry)}/v2`);
  if (url !== null) return url;
  throw new DrayError('REFERENCE_INVALID', `"${registry}" is not a host that can be connected to`, {
    hint: 'Check the name and the port of the registry.',
  });
}
