import type { LookupFunction } from 'node:net';
import { DrayError } from '../../../shared/errors.ts';
import {
  type Descriptor,
  isIndexType,
  isManifestType,
  mediaTypes,
} from '../../../shared/image/descriptor.ts';
import { type Digest, parseDigest, splitDigest } from '../../../shared/image/digest.ts';
import { maxManifestBytes } from '../../../shared/image/manifest.ts';
import { formatReference, type Reference } from '../../../shared/image/reference.ts';
import { type Answer, lengthOf, protocolError } from './answer.ts';
import { Authorizer } from './authorizer.ts';
import { type Asked, type BlobBody, rangeHeader, restartNeeded, toBlobBody } from './blob-body.ts';
import { type Call, type CallLimits, type CallOptions, Calls } from './calls.ts';
import { Conversation } from './conversation.ts';
import type { CredentialSource } from './credentials/credential.ts';
import {
  checkedDigest,
  mediaTypeOf,
  nextPage,
  otherDigest,
  tooLarge,
  verifiedDescriptor,
} from './document.ts';
import { Endpoints } from './endpoint.ts';
import { type ExchangeBudget, noBudget } from './exchange-budget.ts';
import { headerOf } from './header.ts';
import { RegistryHosts } from './hosts/hosts.ts';
import type { ProxyRule } from './proxy.ts';
import { Ranges } from './ranges.ts';
import { type Timeouts, Transport } from './transport.ts';

export type ClientLimits = Timeouts & CallLimits;

const defaultLimits: ClientLimits = {
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
  /** Told what registries warn of, each time (distribution-spec, "Warnings"). Default: nobody. */
  warned?: (registry: string, warning: string) => void;
  userAgent?: string;
  /** Certificates (PEM) that are trusted besides the system's. */
  ca?: string;
  /** In place of dns.lookup. */
  lookup?: LookupFunction;
  limits?: Partial<ClientLimits>;
  /** Whether metrics count its requests, and traces have them. Default: true. */
  observed?: boolean;
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
  readonly #transport: Transport;
  readonly #calls: Calls;
  readonly #budget: ExchangeBudget;

  constructor(options: RegistryClientOptions) {
    const { userAgent = 'drayage', ca, lookup, plainHttp, credentials } = options;
    const { allowPrivate = () => false, tokenHosts = () => [], hostsFolders = [], proxy } = options;
    const limits = { ...defaultLimits, ...options.limits };
    const { observed = true } = options;
    this.#transport = new Transport({ userAgent, ca, lookup, proxy, timeouts: limits, observed });
    const endpoints = new Endpoints(
      { plainHttp, allowPrivate, hosts: new RegistryHosts(hostsFolders) },
      this.#transport,
    );
    const authorizer = new Authorizer({
      ...{ transport: this.#transport, credentials, tokenHosts, retry: limits },
    });
    this.#budget = options.budget ?? noBudget;
    const conversation = new Conversation({
      ...{ transport: this.#transport, endpoints, authorizer, budget: this.#budget },
      warned: options.warned ?? (() => {}),
    });
    this.#calls = new Calls({ endpoints, conversation, limits });
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
    const { registry, repository, tag = 'latest', digest } = reference;
    const what = formatReference(
      digest === undefined ? { registry, repository, tag } : { registry, repository, digest },
    );
    const call = {
      needs: digest === undefined ? 'resolve' : 'pull',
      path: `manifests/${digest ?? tag}`,
      what,
      unknown: 'IMAGE_UNKNOWN',
      headers: { accept: acceptManifests },
    } as const;
    return await this.#calls.document(reference, call, options, (answer, bytes) => ({
      descriptor: verifiedDescriptor(answer, bytes, digest, what),
      bytes,
    }));
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
    const wanted = reference.digest ?? digest;
    // One of another algorithm says nothing without the bytes.
    if (digest !== wanted && splitDigest(digest).algorithm === splitDigest(wanted).algorithm) {
      throw otherDigest(formatReference(reference), wanted, digest);
    }
    return { mediaType: mediaTypeOf(answer), digest: wanted, size };
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
    { registry, repository }: Reference,
    descriptor: Descriptor,
    options: CallOptions = {},
  ): Promise<Buffer> {
    const { digest, size } = descriptor;
    const what = `${registry}/${repository}@${digest}`;
    if (size > maxManifestBytes) throw tooLarge(what);
    const { bytes } = await this.resolve({ registry, repository, digest }, options);
    if (bytes.length !== size) {
      throw new DrayError(
        'SIZE_MISMATCH',
        `${what} has ${bytes.length} bytes where its descriptor says ${size}`,
        { context: { digest }, hint: 'The image is broken. Push it again.' },
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
    return await this.#calls.fromAny(reference.registry, 'pull', options, async (endpoint) => {
      const ask = async (asked: Asked, follows: boolean) =>
        await this.#calls.send(
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
      const { signal } = options;
      const pace = this.#budget.pace(endpoint.registry, signal);
      return toBlobBody(answer, descriptor, asked, { pace, signal });
    });
  }

  /**
   * Whether a registry accepts the credential that there is for it.
   * @returns false when it asks for none, so that nothing is known
   * @throws UNAUTHORIZED, DENIED, and what every call throws
   */
  async checkLogin(registry: string, options: CallOptions = {}): Promise<boolean> {
    return await this.#calls.root(registry, options);
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
    const call = {
      needs: 'pull',
      what: `the referrers of ${reference.registry}/${reference.repository}@${subject}`,
      unknown: 'BLOB_UNKNOWN',
      path: `referrers/${subject}${query}`,
      headers: { accept: mediaTypes.ociIndex },
      // A page is behind another one, and the first behind the resolving of a tag.
      follows: query !== '' || reference.digest === undefined,
    } as const;
    return await unlessUnknown(() =>
      this.#calls.document(reference, call, options, (answer, bytes) => {
        const next = nextPage(answer);
        return { bytes, ...(next === undefined ? {} : { next }) };
      }),
    );
  }

  /** Breaks off what is under way and closes all connections. */
  async close(): Promise<void> {
    await this.#transport.close();
  }

  /** The answer to a HEAD, whose body is gone; undefined for 404. */
  async #head(
    reference: Reference,
    call: Pick<Call, 'path' | 'headers' | 'needs'>,
    options: CallOptions,
  ): Promise<Answer | undefined> {
    const what = `${reference.registry}/${reference.repository} ${call.path}`;
    const asked = { ...call, what, unknown: 'BLOB_UNKNOWN' } as const;
    return await unlessUnknown(() => this.#calls.head(reference, asked, options));
  }
}

async function unlessUnknown<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DrayError && error.code === 'BLOB_UNKNOWN') return undefined;
    throw error;
  }
}
