import { z } from 'zod';
import { DrayError } from '../../../shared/errors.ts';
import { defaultRegistry } from '../../../shared/image/reference.ts';
import { isLoopbackHost } from './address.ts';
import { errorOf, loginHint, protocolError, readAtMost } from './answer.ts';
import { type RetryOptions, retrying } from './backoff.ts';
import type { Challenge } from './challenge.ts';
import type { Credential, CredentialSource } from './credentials.ts';
import type { Endpoint } from './endpoint.ts';
import { hostAndPort } from './network-error.ts';
import type { Transport } from './transport.ts';

const maxTokenBytes = 256 * 1024;
const tokenDeadlineMs = 60_000;
const defaultLifeSeconds = 60;
const maxLifeSeconds = 3600;
const maxCached = 10_000;

/** Hosts of tokens that belong to a registry although their names do not say so. */
const knownRealms: Record<string, string> = { [defaultRegistry]: 'auth.docker.io' };

const tokenSchema = z.object({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().nullish(),
});

interface Authorization {
  /** The value of the Authorization header. */
  header: string;
  /** By performance.now(). */
  expiresAt: number;
}

export interface AuthorizerServices {
  transport: Transport;
  credentials: CredentialSource;
  retry: Pick<RetryOptions, 'tries' | 'backoffMs'>;
}

interface Wanted {
  endpoint: Endpoint;
  /** What a token shall allow, unless the registry names another scope: `repository:a/b:pull`. */
  scope: string;
}

/** Answers the challenges of registries: basic, and bearer tokens (distribution's token specification, by GET). */
export class Authorizer {
  readonly #services: AuthorizerServices;
  /** By registry and scope. */
  readonly #cache = new Map<string, Authorization>();
  /** Token requests under way: one for all who want the same. */
  readonly #pending = new Map<string, Promise<Authorization>>();

  constructor(services: AuthorizerServices) {
    this.#services = services;
  }

  /** The header that worked before and has not expired. */
  known(wanted: Wanted): string | undefined {
    const key = keyOf(wanted);
    const cached = this.#cache.get(key);
    if (cached === undefined || cached.expiresAt > performance.now()) return cached?.header;
    this.#cache.delete(key);
    return undefined;
  }

  /**
   * The header that answers a 401.
   * @param rejected the header that got the 401
   * @throws UNAUTHORIZED when there is nothing to answer with
   */
  async answer(
    wanted: Wanted,
    challenges: Challenge[],
    rejected: string | undefined,
    options: { signal?: AbortSignal | undefined },
  ): Promise<string> {
    const known = this.known(wanted);
    if (known !== undefined && known !== rejected) return known;
    const key = keyOf(wanted);
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      this.#cache.delete(key);
      pending = this.#authorize(wanted, challenges).finally(() => this.#pending.delete(key));
      this.#pending.set(key, pending);
    }
    const authorization = await unlessAborted(pending, options.signal);
    return authorization.header;
  }

  async #authorize(wanted: Wanted, challenges: Challenge[]): Promise<Authorization> {
    const { endpoint } = wanted;
    const credential = await this.#services.credentials(endpoint.registry);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    const authorization =
      bearer === undefined
        ? basic(endpoint, challenges, credential)
        : await this.#fetchToken(wanted, bearer, credential);
    if (this.#cache.size >= maxCached) this.#cache.clear();
    this.#cache.set(keyOf(wanted), authorization);
    return authorization;
  }

  async #fetchToken(
    wanted: Wanted,
    challenge: Challenge,
    credential: Credential | undefined,
  ): Promise<Authorization> {
    const { endpoint } = wanted;
    const { transport, retry } = this.#services;
    const url = realmOf(challenge, endpoint);
    if (challenge.params.service) url.searchParams.set('service', challenge.params.service);
    for (const scope of (challenge.params.scope || wanted.scope).split(' ')) {
      if (scope !== '') url.searchParams.append('scope', scope);
    }
    const trusted = isTrustedWith(endpoint, url);
    const authorization = credential !== undefined && trusted ? basicHeader(credential) : undefined;
    const host = hostAndPort(url);
    return await retrying(async () => {
      const signal = AbortSignal.timeout(tokenDeadlineMs);
      const { allowPrivate } = endpoint;
      const answer = await transport.send({
        ...{ method: 'GET', url, authorization, allowPrivate, follow: false, signal },
      });
      if (answer.status !== 200) {
        const what = `a token for ${endpoint.registry}`;
        const error = await errorOf(answer, { what, unknown: 'REGISTRY_PROTOCOL', authorization });
        if (error.code !== 'UNAUTHORIZED' && error.code !== 'DENIED') throw error;
        throw new DrayError(error.code, error.message, {
          context: error.context,
          hint:
            credential === undefined
              ? loginHint(endpoint.registry)
              : trusted
                ? `The login for ${endpoint.registry} is not valid: log in again.`
                : `The login was not sent: ${host} does not belong to ${endpoint.registry}.`,
        });
      }
      const asked = performance.now();
      const bytes = await readAtMost(answer, maxTokenBytes, { signal });
      const parsed = parseToken(bytes);
      if (parsed === undefined) throw protocolError(answer, 'without a usable token');
      return { header: `Bearer ${parsed.token}`, expiresAt: asked + parsed.lifeMs };
    }, retry);
  }
}

function keyOf({ endpoint, scope }: Wanted): string {
  return `${endpoint.registry} ${scope}`;
}

function basic(
  endpoint: Endpoint,
  challenges: Challenge[],
  credential: Credential | undefined,
): Authorization {
  const offered = challenges.map(({ scheme }) => scheme);
  if (credential !== undefined && offered.includes('basic')) {
    return { header: basicHeader(credential), expiresAt: Number.POSITIVE_INFINITY };
  }
  const { registry } = endpoint;
  const context = { host: hostAndPort(endpoint.base) };
  if (offered.length > 0 && !offered.includes('basic')) {
    const names = offered.join(', ').slice(0, 100);
    throw new DrayError('UNAUTHORIZED', `${registry} wants a login of a kind unknown: ${names}`, {
      context,
      hint: 'Basic and bearer logins are supported.',
    });
  }
  throw new DrayError('UNAUTHORIZED', `${registry} wants a login, and there is none for it`, {
    context,
    hint: loginHint(registry),
  });
}

function basicHeader({ username, password }: Credential): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** The place that hands out tokens: by https, or by plain http on the host of a registry that is spoken to so. */
function realmOf(challenge: Challenge, endpoint: Endpoint): URL {
  const { base, registry } = endpoint;
  const url = URL.parse(challenge.params.realm ?? '');
  const refuse = (why: string) =>
    new DrayError('REGISTRY_PROTOCOL', `${registry} sends us for a token to ${why}`, {
      context: { host: hostAndPort(base) },
      hint: 'The registry is misconfigured, or somebody is in between.',
    });
  if (url === null) throw refuse('no address');
  const sameHost = url.hostname === base.hostname && base.protocol === 'http:';
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && sameHost)) {
    throw refuse(`${url.protocol}//${url.host}, which is not https`);
  }
  url.username = '';
  url.password = '';
  url.hash = '';
  return url;
}

/** Whether a credential for the registry may be shown to the realm: its own host, or a domain above it. */
function isTrustedWith({ base, registry }: Endpoint, realm: URL): boolean {
  if (realm.hostname === base.hostname) return true;
  if (knownRealms[registry] === realm.hostname) return true;
  if (isLoopbackHost(base) && isLoopbackHost(realm)) return true;
  return realm.hostname.includes('.') && base.hostname.endsWith(`.${realm.hostname}`);
}

function parseToken(bytes: Buffer): { token: string; lifeMs: number } | undefined {
  let document: unknown;
  try {
    document = JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
  const parsed = tokenSchema.safeParse(document);
  const token = parsed.data?.token || parsed.data?.access_token;
  if (token === undefined || !/^[\x21-\x7e]+$/.test(token)) return undefined;
  const named = parsed.data?.expires_in;
  const seconds = Math.min(maxLifeSeconds, named && named > 0 ? named : defaultLifeSeconds);
  // Ends a little early, so that it does not expire on its way.
  return { token, lifeMs: Math.max(seconds * 0.8, seconds - 10) * 1000 };
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  signal.throwIfAborted();
  const stopped = Promise.withResolvers<never>();
  const stop = () => stopped.reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, stopped.promise]);
  } finally {
    signal.removeEventListener('abort', stop);
    work.catch(() => {});
  }
}
