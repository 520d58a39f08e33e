import { maxManifestBytes } from '../../../shared/image/manifest.ts';
import type { Reference } from '../../../shared/image/reference.ts';
import { type Answer, discard, lengthOf, readAtMost } from './answer.ts';
import { retrying } from './backoff.ts';
import type { Conversation, Question } from './conversation.ts';
import type { Credential } from './credentials/credential.ts';
import { tooLarge } from './document.ts';
import type { Endpoint, Endpoints } from './endpoint.ts';
import { failover } from './failover.ts';
import type { Capability } from './hosts/hosts-toml.ts';

/** What bounds a call. In milliseconds, but `tries`. */
export interface CallLimits {
  /** Until a manifest is there whole. */
  documentMs: number;
  /** Calls for a manifest or a token at most, while they fail for reasons that pass. */
  tries: number;
  backoffMs: number;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** The name of the credential that counts; default: what the worker has for the registry. */
  credential?: string | undefined;
  /** False: asks the registry itself. */
  mirrors?: boolean | undefined;
  /** It goes on with another call that was let in, and could not be made again from the start: it need not wait. */
  follows?: boolean;
  /** Told the login that a successful answer was given to; undefined: none was shown. */
  onLogin?: ((login: Credential | undefined) => void) | undefined;
}

export interface Call extends Question {
  /** Under the repository: `manifests/latest`. */
  path: string;
  /** What a mirror must be good for to be asked this. */
  needs: Capability;
}

export interface CallServices {
  endpoints: Endpoints;
  conversation: Conversation;
  limits: CallLimits;
}

/** Calls about repositories: each is made at the first host that can answer it, and again while what failed may pass. */
export class Calls {
  readonly #services: CallServices;

  constructor(services: CallServices) {
    this.#services = services;
  }

  /** The answer to a GET, and its body. @throws MANIFEST_INVALID for more bytes than a manifest may have */
  async document<T>(
    reference: Reference,
    call: Omit<Call, 'method'>,
    options: CallOptions,
    read: (answer: Answer, bytes: Buffer) => T,
  ): Promise<T> {
    return await this.#retryingAny(reference, call.needs, options, async (endpoint, bounded) => {
      const answer = await this.send(endpoint, reference, { ...call, method: 'GET' }, bounded);
      return read(answer, await readDocument(answer, call.what, bounded));
    });
  }

  /** The answer to a HEAD, whose body is gone. */
  async head(
    reference: Reference,
    call: Omit<Call, 'method'>,
    options: CallOptions,
  ): Promise<Answer> {
    return await this.#retryingAny(reference, call.needs, options, async (endpoint, bounded) => {
      const answer = await this.send(endpoint, reference, { ...call, method: 'HEAD' }, bounded);
      await discard(answer.body);
      return answer;
    });
  }

  /** Whether the API's root wants the credential that there is, and takes it. */
  async root(registry: string, options: CallOptions): Promise<boolean> {
    return await this.#retrying(options, async (bounded) => {
      const direct = { ...bounded, mirrors: false };
      return await this.fromAny(registry, 'pull', direct, async (endpoint) => {
        const { credential } = options;
        const wanted = { endpoint, scope: '', credential, onlyWithLogin: true };
        const question = { method: 'GET', what: registry, unknown: 'REGISTRY_PROTOCOL' } as const;
        const url = new URL(`${rootOf(endpoint)}/`);
        const { conversation } = this.#services;
        const { answer, authorization } = await conversation.send(wanted, url, question, bounded);
        await discard(answer.body);
        return authorization !== undefined;
      });
    });
  }

  /** The first answer that mirrors or the registry give. Once: nothing is tried again. */
  async fromAny<T>(
    registry: string,
    needs: Capability,
    options: CallOptions,
    work: (endpoint: Endpoint) => Promise<T>,
  ): Promise<T> {
    const { signal } = options;
    const endpoints = this.#services.endpoints.find(registry, needs, options);
    return await failover(registry, endpoints, work, { signal });
  }

  /** Sends a request about a repository to one host. The answer's body must be read, discarded or destroyed. */
  async send(
    endpoint: Endpoint,
    { repository }: Reference,
    call: Omit<Call, 'needs'>,
    options: CallOptions,
  ): Promise<Answer> {
    const url = new URL(`${rootOf(endpoint)}/${repository}/${call.path}`);
    if (endpoint.namespace !== undefined) url.searchParams.set('ns', endpoint.namespace);
    const scope = `repository:${repository}:pull`;
    const wanted = { endpoint, scope, repository, credential: options.credential };
    const follows = call.follows ?? options.follows ?? false;
    const { conversation } = this.#services;
    const { answer, login } = await conversation.send(wanted, url, { ...call, follows }, options);
    options.onLogin?.(login);
    return answer;
  }

  async #retryingAny<T>(
    { registry }: Reference,
    needs: Capability,
    options: CallOptions,
    work: (endpoint: Endpoint, bounded: CallOptions) => Promise<T>,
  ): Promise<T> {
    return await this.#retrying(options, async (bounded) =>
      this.fromAny(registry, needs, bounded, (endpoint) => work(endpoint, bounded)),
    );
  }

  /** Repeats what fails for reasons that pass, each time within the limit for documents. */
  async #retrying<T>(
    options: CallOptions,
    work: (bounded: CallOptions & { signal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const { documentMs, tries, backoffMs } = this.#services.limits;
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
}

async function readDocument(answer: Answer, what: string, options: CallOptions): Promise<Buffer> {
  const announced = lengthOf(answer);
  if (announced !== undefined && announced > maxManifestBytes) {
    answer.body.on('error', () => {}).destroy();
    throw tooLarge(what);
  }
  const bytes = await readAtMost(answer, maxManifestBytes, options);
  if (bytes.length > maxManifestBytes) throw tooLarge(what);
  return bytes;
}

/** The root of the API, as a text that paths are put behind. */
function rootOf({ base }: Endpoint): string {
  return base.href.replace(/\/$/, '');
}
