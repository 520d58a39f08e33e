import type { LookupFunction } from 'node:net';
import { DrayError } from '../../../shared/errors.ts';
import {
  type Descriptor,
  isIndexType,
  isManifestType,
  mediaTypes,
} from '../../../shared/image/descriptor.ts';
import { type Digest, digestOf, parseDigest, splitDigest } from '../../../shared/image/digest.ts';
import { maxManifestBytes } from '../../../shared/image/manifest.ts';
import { formatReference, type Reference } from '../../../shared/image/reference.ts';
import { type Answer, discard, lengthOf, protocolError, readAtMost } from './answer.ts';
import { Authorizer } from './authorizer.ts';
import { retrying } from './backoff.ts';
import { type Asked, type BlobBody, rangeHeader, restartNeeded, toBlobBody } from './blob-body.ts';
import { Conversation, type Question } from './conversation.ts';
import type { CredentialSource } from './credentials/credential.ts';
import { checkedDigest, mediaTypeOf, nextPage, otherDigest, tooLarge } from './document.ts';
import { type Endpoint, Endpoints } from './endpoint.ts';
import { type ExchangeBudget, noBudget } from './exchange-budget.ts';
import { failover } from './failover.ts';
import { headerOf } from './header.ts';
import { RegistryHosts } from './hosts/hosts.ts';
import type { Capability } from './hosts/hosts-toml.ts';
import type { ProxyRule } from './proxy.ts';
import { Ranges } from './ranges.ts';
import { type Timeouts, Transport } from './transport.ts';

/** All in milliseconds, but `tries`. */
export interface RegistryLimits extends Timeouts {
  /** Until a manifest is there whole. */
  documentMs: number;
  /** Calls for a manifest or a token at most, while they fail for reasons that pass. */
  tries: number;
  backoffMs: number;
}

export const defaultLimits: RegistryLimits = {
  connectMs: 10_000,
  headersMs: 30_000,
  silenceMs: 60_000,
  documentMs: 120_000,
  tries: 3,
  backoffMs: 200,
};

export interface RegistryClientOptions {
  /** Registries that are spoken to by plain http. Those on this machine are unasked, where they do not speak https. */
  plainHttp: (registry: string) => boolean;
  credentials: CredentialSource;
  /** Registries that may stand at, and redirect to, loopback and private addresses. Default: none but those on this machine and those in `plainHttp`. */
  allowPrivate?: (registry: string) => boolean;
  /** Folders of hosts.toml files, in order. Default: none. */
  hostsFolders?: readonly string[];
  /** Hosts besides its own that a registry's logins may be shown to for a token. Default: none. */
  tokenHosts?: (registry: string) => readonly string[];
  /** Default: no proxy. */
  proxy?: ProxyRule;
  /** What registries may be asked, and when. Default: everything, at once. */
  budget?: ExchangeBudget;
  userAgent?: string;
  /** Certificates (PEM) that are trusted besides the system's. */
  ca?: string;
  /** In place of dns.lookup. */
  lookup?: LookupFunction;
  limits?: Partial<RegistryLimits>;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** The name of the credential that counts; default: what the worker has for the registry. */
  credential?: string | undefined;
  /** False: asks the registry itself. */
  mirrors?: boolean | undefined;
  /** It goes on with another call that was let in, and could not be made again from the start: it need not wait. */
  follows?: boolean;
}

interface Request extends Question {
  /** Under the repository: `manifests/latest`. */
  path: string;
  /** What a mirror must be good for to be asked this. */
  needs: Capability;
}

const acceptManifests = [
  mediaTypes.ociIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerList,
  mediaTypes.dockerManifest,
  mediaTypes.dockerSchema1Signed,
  '*/*',
].join(', ');

/** The pull side of the distribution specification. One client serves all registries. */
export class RegistryClient {
  /** Which registries answer ranges, as far as was found out. */
  readonly ranges = new Ranges();
  readonly #limits: RegistryLimits;
  readonly #transport: Transport;
  readonly #endpoints: Endpoints;
  readonly #conversation: Conversation;
  readonly #budget: ExchangeBudget;

  constructor(options: RegistryClientOptions) {
    const { userAgent = 'drayage', ca, lookup, plainHttp, credentials } = options;
    const { allowPrivate = () => false, tokenHosts = () => [], hostsFolders = [], proxy } = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#transport = new Transport({ userAgent, ca, lookup, proxy, timeouts: this.#limits });
    this.#endpoints = new Endpoints(
      { plainHttp, allowPrivate, hosts: new RegistryHosts(hostsFolders) },
      this.#transport,
    );
    const { tries, backoffMs } = this.#limits;
    const authorizer = new Authorizer({
      ...{ transport: this.#transport, credentials, tokenHosts, retry: { tries, backoffMs } },
    });
    this.#budget = options.budget ?? noBudget;
    this.#conversation = new Conversation({
      ...{ transport: this.#transport, endpoints: this.#endpoints, authorizer },
      budget: this.#budget,
    });
  }

  /**
   * Asks what a reference is. The descriptor's digest is of the bytes that came; it agrees with the reference's
   * and with the registry's own word. The bytes are not parsed.
   * @throws IMAGE_UNKNOWN, DIGEST_MISMATCH, MANIFEST_INVALID past the size limit, and what every call throws:
   * UNAUTHORIZED, DENIED, RATE_LIMITED (context.retryAfterMs), REGISTRY_UNAVAILABLE, REGISTRY_PROTOCOL, ADDRESS_REFUSED
   */
  async resolve(
    reference: Reference,
    options: CallOptions = {},
  ): Promise<{ descriptor: Descriptor; bytes: Buffer }> {
    return await this.#getManifest(reference, reference.digest, options);
  }

  /** The descriptor of a manifest by its headers alone; undefined when the registry does not have it. */
  async head(reference: Reference, options: CallOptions = {}): Promise<Descriptor | undefined> {
    const target = reference.digest ?? reference.tag ?? 'latest';
    const headers = { accept: acceptManifests };
    const needs = reference.digest === undefined ? 'resolve' : 'pull';
    const answer = await this.#head(
      reference,
      { path: `manifests/${target}`, headers, needs },
      options,
    );
    if (answer === undefined) return undefined;
    const named = headerOf(answer.headers, 'docker-content-digest');
    const digest = named === undefined ? reference.digest : checkedDigest(answer, named);
    const size = lengthOf(answer);
    if (digest === undefined || size === undefined) {
      return (await this.resolve(reference, { ...options, follows: true })).descriptor;
    }
    if (reference.digest !== undefined && digest !== reference.digest) {
      throw otherDigest(formatReference(reference), reference.digest, digest);
    }
    return { mediaType: mediaTypeOf(answer), digest, size };
  }

  /**
   * What an object is by its digest: a blob, or a manifest or index.
   * @throws BLOB_UNKNOWN when it is neither
   */
  async describe(
    reference: Reference,
    digest: Digest,
    options: CallOptions = {},
  ): Promise<Descriptor> {
    const { registry, repository } = reference;
    // Blobs first: asked for a blob as a manifest, docker-registry answers with status 500.
    const answer = await this.#head(reference, { path: `blobs/${digest}`, needs: 'pull' }, options);
    if (answer !== undefined) {
      const size = lengthOf(answer);
      if (size === undefined) throw protocolError(answer, 'without a Content-Length');
      return { mediaType: 'application/octet-stream', digest, size };
    }
    const manifest = await this.head(
      { registry, repository, digest },
      { ...options, follows: true },
    );
    if (manifest !== undefined) return manifest;
    const what = `${registry}/${repository}@${digest}`;
    throw new DrayError('BLOB_UNKNOWN', `${registry} has neither blob nor manifest ${what}`, {
      context: { host: registry, digest },
      hint: 'Check repository and digest.',
    });
  }

  /** The bytes of a manifest or index, verified. @throws IMAGE_UNKNOWN, DIGEST_MISMATCH, SIZE_MISMATCH */
  async manifest(
    reference: Reference,
    descriptor: Descriptor,
    options: CallOptions = {},
  ): Promise<Buffer> {
    const what = `${reference.registry}/${reference.repository}@${descriptor.digest}`;
    if (descriptor.size > maxManifestBytes) throw tooLarge(what);
    const { bytes } = await this.#getManifest(reference, descriptor.digest, options);
    if (bytes.length !== descriptor.size) {
      throw new DrayError(
        'SIZE_MISMATCH',
        `${what} has ${bytes.length} bytes where its descriptor says ${descriptor.size}`,
        { context: { digest: descriptor.digest }, hint: 'The image is broken. Push it again.' },
      );
    }
    return bytes;
  }

  /**
   * Begins to read a blob, once: no retries, no verification. Its length as announced agrees with the descriptor.
   * The body must be read to its end or be broken off.
   * @throws BLOB_UNKNOWN, SIZE_MISMATCH (retryable) when another length is announced
   */
  async blob(
    reference: Reference,
    descriptor: Descriptor,
    options: CallOptions & Partial<Asked> = {},
  ): Promise<BlobBody> {
    const { mediaType, digest } = descriptor;
    const kind = isIndexType(mediaType) || isManifestType(mediaType) ? 'manifests' : 'blobs';
    return await this.#fromAny(reference.registry, 'pull', options, async (endpoint) => {
      const ask = async (asked: Asked, follows: boolean) =>
        await this.#send(
          endpoint,
          reference,
          {
            method: 'GET',
            path: `${kind}/${parseDigest(digest)}`,
            what: `${reference.registry}/${reference.repository}@${digest}`,
            unknown: 'BLOB_UNKNOWN',
            isBlob: true,
            follows,
            headers: {
              accept: kind === 'blobs' ? '*/*' : acceptManifests,
              ...rangeHeader(asked),
            },
          },
          options,
        );
      const { offset = 0, end } = options;
      let asked: Asked = { offset, end };
      let answer = await ask(asked, false);
      if (rangeHeader(asked).range !== undefined && restartNeeded(answer)) {
        answer.body.on('error', () => {}).destroy();
        asked = { offset: 0 };
        answer = await ask(asked, true);
      }
      const blob = toBlobBody(answer, descriptor, asked);
      const { registry } = endpoint;
      return { ...blob, body: this.#budget.throttled(registry, blob.body, options.signal) };
    });
  }

  /**
   * Whether a registry accepts the credential that there is for it.
   * @returns false when it asks for none, so that nothing is known
   * @throws UNAUTHORIZED, DENIED, and what every call throws
   */
  async checkLogin(registry: string, options: CallOptions = {}): Promise<boolean> {
    return await this.#retrying(options, async (bounded) => {
      const direct = { ...bounded, mirrors: false };
      return await this.#fromAny(registry, 'pull', direct, async (endpoint) => {
        const { credential } = options;
        const wanted = { endpoint, scope: '', credential, onlyWithLogin: true };
        const request = { method: 'GET', what: registry, unknown: 'REGISTRY_PROTOCOL' } as const;
        const url = new URL(`${rootOf(endpoint)}/`);
        const { answer, authorization } = await this.#conversation.send(
          wanted,
          url,
          request,
          bounded,
        );
        await discard(answer.body);
        return authorization !== undefined;
      });
    });
  }

  /**
   * One page of what refers to a manifest; undefined when the registry has no such API.
   * @param query '' for the first page, then the `next` of the page before
   */
  async referrers(
    reference: Reference,
    subject: Digest,
    query: string,
    options: CallOptions = {},
  ): Promise<{ bytes: Buffer; next?: string } | undefined> {
    const { registry, repository } = reference;
    const what = `the referrers of ${registry}/${repository}@${subject}`;
    const request: Request = {
      ...{ method: 'GET', needs: 'pull', what, unknown: 'BLOB_UNKNOWN' },
      path: `referrers/${subject}${query}`,
      headers: { accept: mediaTypes.ociIndex },
      // A page is behind another one, and the first behind the resolving of a tag.
      follows: query !== '' || reference.digest === undefined,
    };
    try {
      return await this.#retryingAny(registry, 'pull', options, async (endpoint, bounded) => {
        const answer = await this.#send(endpoint, reference, request, bounded);
        const bytes = await readAtMost(answer, maxManifestBytes, bounded);
        if (bytes.length > maxManifestBytes) throw tooLarge(what);
        const next = nextPage(answer);
        return { bytes, ...(next === undefined ? {} : { next }) };
      });
    } catch (error) {
      if (error instanceof DrayError && error.code === 'BLOB_UNKNOWN') return undefined;
      throw error;
    }
  }

  /** Breaks off what is under way and closes all connections. */
  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #getManifest(
    reference: Reference,
    digest: Digest | undefined,
    options: CallOptions,
  ): Promise<{ descriptor: Descriptor; bytes: Buffer }> {
    const { registry, repository, tag = 'latest' } = reference;
    const wanted =
      digest === undefined ? { registry, repository, tag } : { registry, repository, digest };
    const what = formatReference(wanted);
    const needs = digest === undefined ? 'resolve' : 'pull';
    const request: Request = {
      method: 'GET',
      needs,
      path: `manifests/${digest ?? tag}`,
      what,
      unknown: 'IMAGE_UNKNOWN',
      headers: { accept: acceptManifests },
    };
    return await this.#retryingAny(registry, needs, options, async (endpoint, bounded) => {
      const answer = await this.#send(endpoint, reference, request, bounded);
      const announced = lengthOf(answer);
      if (announced !== undefined && announced > maxManifestBytes) {
        answer.body.on('error', () => {}).destroy();
        throw tooLarge(what);
      }
      const bytes = await readAtMost(answer, maxManifestBytes, bounded);
      if (bytes.length > maxManifestBytes) throw tooLarge(what);
      const algorithm = digest === undefined ? 'sha256' : splitDigest(digest).algorithm;
      const found = digestOf(bytes, algorithm);
      if (digest !== undefined && found !== digest) throw otherDigest(what, digest, found);
      const named = headerOf(answer.headers, 'docker-content-digest');
      if (named !== undefined) {
        const claimed = checkedDigest(answer, named);
        const same = digestOf(bytes, splitDigest(claimed).algorithm);
        if (same !== claimed) throw otherDigest(what, claimed, same);
      }
      const mediaType = mediaTypeOf(answer);
      return { descriptor: { mediaType, digest: found, size: bytes.length }, bytes };
    });
  }

  /** The answer to a HEAD, whose body is gone; undefined for 404. */
  async #head(
    reference: Reference,
    request: Pick<Request, 'path' | 'headers' | 'needs'>,
    options: CallOptions,
  ): Promise<Answer | undefined> {
    const what = `${reference.registry}/${reference.repository} ${request.path}`;
    try {
      const { registry } = reference;
      return await this.#retryingAny(
        registry,
        request.needs,
        options,
        async (endpoint, bounded) => {
          const sent = { ...request, method: 'HEAD', what, unknown: 'BLOB_UNKNOWN' } as const;
          const answer = await this.#send(endpoint, reference, sent, bounded);
          await discard(answer.body);
          return answer;
        },
      );
    } catch (error) {
      if (error instanceof DrayError && error.code === 'BLOB_UNKNOWN') return undefined;
      throw error;
    }
  }

  /** Repeats what fails for reasons that pass, each time within the limit for documents. */
  async #retrying<T>(
    options: CallOptions,
    work: (bounded: CallOptions & { signal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const { documentMs, tries, backoffMs } = this.#limits;
    const { signal } = options;
    return await retrying(
      async () => {
        const deadline = AbortSignal.timeout(documentMs);
        return await work({
          ...options,
          signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
        });
      },
      { tries, backoffMs, signal },
    );
  }

  async #retryingAny<T>(
    registry: string,
    needs: Capability,
    options: CallOptions,
    work: (endpoint: Endpoint, bounded: CallOptions) => Promise<T>,
  ): Promise<T> {
    return await this.#retrying(options, async (bounded) =>
      this.#fromAny(registry, needs, bounded, (endpoint) => work(endpoint, bounded)),
    );
  }

  /** The first answer that mirrors or the registry give. */
  async #fromAny<T>(
    registry: string,
    needs: Capability,
    options: CallOptions,
    work: (endpoint: Endpoint) => Promise<T>,
  ): Promise<T> {
    const { signal } = options;
    return await failover(registry, this.#endpoints.find(registry, needs, options), work, {
      signal,
    });
  }

  /** Sends a request about a repository. */
  async #send(
    endpoint: Endpoint,
    { repository }: Reference,
    request: Omit<Request, 'needs'>,
    options: CallOptions,
  ): Promise<Answer> {
    const url = new URL(`${rootOf(endpoint)}/${repository}/${request.path}`);
    if (endpoint.namespace !== undefined) url.searchParams.set('ns', endpoint.namespace);
    const scope = `repository:${repository}:pull`;
    const wanted = { endpoint, scope, repository, credential: options.credential };
    const follows = request.follows ?? options.follows ?? false;
    return (await this.#conversation.send(wanted, url, { ...request, follows }, options)).answer;
  }
}

/** The root of the API, as a text that paths are put behind. */
function rootOf({ base }: Endpoint): string {
  return base.href.replace(/\/$/, '');
}
