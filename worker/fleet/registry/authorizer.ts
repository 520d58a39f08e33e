import { DrayError } from '../../../shared/errors.ts';
import { defaultRegistry } from '../../../shared/image/reference.ts';
import { isLoopbackHost } from './address.ts';
import { discard, errorOf, loginHint, protocolError, readAtMost } from './answer.ts';
import { type RetryOptions, retrying } from './backoff.ts';
import type { Challenge } from './challenge.ts';
import {
  type Credential,
  type CredentialQuery,
  type CredentialSource,
  sameCredential,
} from './credentials/credential.ts';
import type { Endpoint } from './endpoint.ts';
import { hostAndPort } from './network-error.ts';
import { authoritiesOf } from './tls.ts';
import { basicHeader, byGet, byPost, parseToken, secretsOf } from './token-request.ts';
import type { Transport } from './transport.ts';

const maxTokenBytes = 256 * 1024;
const tokenDeadlineMs = 60_000;
const maxCached = 10_000;

/** Hosts of tokens that belong to a registry although their names do not say so. */
const knownRealms: Record<string, string> = { [defaultRegistry]: 'auth.docker.io' };

interface Authorization {
  /** The value of the Authorization header. */
  header: string;
  /** By performance.now(). */
  expiresAt: number;
  /** What it was made of. */
  credential: Credential | undefined;
}

export interface AuthorizerServices {
  transport: Transport;
  credentials: CredentialSource;
  /** Hosts besides its own that a registry's logins may be shown to when it sends there for a token. */
  tokenHosts: (registry: string) => readonly string[];
  retry: Pick<RetryOptions, 'tries' | 'backoffMs'>;
}

export interface Wanted {
  endpoint: Endpoint;
  /** What a token shall allow, unless the registry names another scope: `repository:a/b:pull`. */
  scope: string;
  repository?: string | undefined;
  /** The name of the credential that counts. */
  credential?: string | undefined;
  /** An answer that was made without the login is of no use. */
  onlyWithLogin?: boolean;
}

/**
 * Answers the challenges of registries: basic, and bearer tokens (distribution's token specification by GET, and by
 * OAuth2 POST for identity tokens and for servers that know nothing else).
 */
export class Authorizer {
  readonly #services: AuthorizerServices;
  /** By registry, scope and name of the credential. */
  readonly #cache = new Map<string, Authorization>();
  /** Token requests under way: one for all who want the same. */
  readonly #pending = new Map<string, Promise<Authorization>>();

  constructor(services: AuthorizerServices) {
    this.#services = services;
  }

  /** The header that worked before, has not expired, and was made of the credential that there is now. */
  async known(wanted: Wanted): Promise<string | undefined> {
    const key = keyOf(wanted);
    const cached = this.#cache.get(key);
    if (cached === undefined) return undefined;
    if (
      cached.expiresAt > performance.now() &&
      sameCredential(cached.credential, await this.#services.credentials(queryOf(wanted)))
    ) {
      return cached.header;
    }
    if (this.#cache.get(key) === cached) this.#cache.delete(key);
    return undefined;
  }

  /** What the header that works now was made of. */
  loginOf(wanted: Wanted): Credential | undefined {
    return this.#cache.get(keyOf(wanted))?.credential;
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
    const known = await this.known(wanted);
    if (known !== undefined && known !== rejected) return known;
    const key = keyOf(wanted);
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      this.#cache.delete(key);
      pending = this.#authorize(wanted, challenges, rejected).finally(() =>
        this.#pending.delete(key),
      );
      this.#pending.set(key, pending);
    }
    const authorization = await unlessAborted(pending, options.signal);
    return authorization.header;
  }

  async #authorize(
    wanted: Wanted,
    challenges: Challenge[],
    rejected: string | undefined,
  ): Promise<Authorization> {
    const ask = async (fresh: boolean) =>
      await this.#services.credentials(queryOf(wanted), { fresh });
    const attempt = async (credential: Credential | undefined) =>
      await this.#attempt(wanted, challenges, credential);
    const credential = await ask(false);
    let authorization: Authorization;
    try {
      authorization = await attempt(credential);
      if (authorization.header === rejected) authorization = await attempt(await ask(true));
    } catch (error) {
      // What a helper said a while ago may have ended before its time.
      if (!isRefusal(error) || credential === undefined) throw error;
      const other = await ask(true);
      if (sameCredential(other, credential)) throw error;
      authorization = await attempt(other);
    }
    if (this.#cache.size >= maxCached) this.#cache.clear();
    this.#cache.set(keyOf(wanted), authorization);
    return authorization;
  }

  async #attempt(
    wanted: Wanted,
    challenges: Challenge[],
    credential: Credential | undefined,
  ): Promise<Authorization> {
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer === undefined) return basic(wanted, challenges, credential);
    if (credential !== undefined && 'registryToken' in credential) {
      const header = `Bearer ${credential.registryToken}`;
      return { header, expiresAt: Number.POSITIVE_INFINITY, credential };
    }
    return await this.#fetchToken(wanted, bearer, credential);
  }

  async #fetchToken(
    wanted: Wanted,
    challenge: Challenge,
    credential: Exclude<Credential, { registryToken: string }> | undefined,
  ): Promise<Authorization> {
    const { endpoint } = wanted;
    const { transport, retry } = this.#services;
    const realm = realmOf(challenge, endpoint);
    const trusted = this.#isTrustedWith(endpoint, realm);
    const shown = trusted ? credential : undefined;
    if (shown === undefined && wanted.onlyWithLogin) {
      throw new DrayError('UNAUTHORIZED', `There is no login that ${endpoint.registry} may see`, {
        context: { host: hostAndPort(realm) },
        hint: refusedHint(endpoint.registry, credential, trusted, hostAndPort(realm)),
      });
    }
    const scopes = (challenge.params.scope || wanted.scope).split(' ').filter((s) => s !== '');
    const service = challenge.params.service || undefined;
    const sameHost = realm.hostname === endpoint.base.hostname;
    const exchange = async (form: 'GET' | 'POST') => {
      const { allowPrivate } = endpoint;
      const tls =
        endpoint.tls === undefined
          ? undefined
          : sameHost
            ? endpoint.tls
            : authoritiesOf(endpoint.tls);
      const signal = AbortSignal.timeout(tokenDeadlineMs);
      const request =
        form === 'GET'
          ? byGet(realm, service, scopes, shown)
          : byPost(realm, service, scopes, shown);
      const answer = await transport.send({ ...request, allowPrivate, tls, follow: false, signal });
      return { answer, signal };
    };
    return await retrying(async () => {
      const asked = performance.now();
      const isIdentity = shown !== undefined && 'identityToken' in shown;
      let { answer, signal } = await exchange(isIdentity ? 'POST' : 'GET');
      const otherForm = answer.status === 404 || answer.status === 405;
      if (otherForm && shown !== undefined && !isIdentity) {
        await discard(answer.body);
        ({ answer, signal } = await exchange('POST'));
      }
      if (answer.status !== 200) {
        const what = `a token for ${endpoint.registry}`;
        const secrets = secretsOf(shown);
        const error = await errorOf(answer, { what, unknown: 'REGISTRY_PROTOCOL', secrets });
        // RFC 6749, section 5.2: what an ended identity token gets.
        const isRefused = error.code === 'UNAUTHORIZED' || error.code === 'DENIED';
        if (!isRefused && !(isIdentity && answer.status === 400)) throw error;
        throw new DrayError(isRefused ? error.code : 'UNAUTHORIZED', error.message, {
          context: error.context,
          hint: refusedHint(endpoint.registry, credential, trusted, hostAndPort(realm)),
        });
      }
      const parsed = parseToken(await readAtMost(answer, maxTokenBytes, { signal }));
      if (parsed === undefined) throw protocolError(answer, 'without a usable token');
      const { token, lifeMs } = parsed;
      return { header: `Bearer ${token}`, expiresAt: asked + lifeMs, credential };
    }, retry);
  }

  /** Whether a credential for the registry may be shown to the realm: its own host, a domain above it, or a configured one. */
  #isTrustedWith({ base, registry }: Endpoint, realm: URL): boolean {
    if (realm.hostname === base.hostname) return true;
    if (knownRealms[registry] === realm.hostname) return true;
    if (isLoopbackHost(base) && isLoopbackHost(realm)) return true;
    if (realm.hostname.includes('.') && base.hostname.endsWith(`.${realm.hostname}`)) return true;
    const configured = this.#services.tokenHosts(registry);
    return configured.includes(realm.host) || configured.includes(realm.hostname);
  }
}

function keyOf({ endpoint, scope, credential = '' }: Wanted): string {
  return `${endpoint.registry} ${endpoint.base.origin} ${scope} ${credential}`;
}

function queryOf({ endpoint, repository, credential }: Wanted): CredentialQuery {
  return { registry: endpoint.registry, repository, name: credential };
}

function isRefusal(error: unknown): boolean {
  return error instanceof DrayError && (error.code === 'UNAUTHORIZED' || error.code === 'DENIED');
}

function basic(
  { endpoint, credential: name }: Wanted,
  challenges: Challenge[],
  credential: Credential | undefined,
): Authorization {
  const offered = challenges.map(({ scheme }) => scheme);
  if (credential !== undefined && 'password' in credential && offered.includes('basic')) {
    const expiresAt = Number.POSITIVE_INFINITY;
    return { header: basicHeader(credential), expiresAt, credential };
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
  if (credential !== undefined) {
    throw new DrayError('UNAUTHORIZED', `${registry} wants a password, and there is a token only`, {
      context,
      hint: loginHint(registry),
    });
  }
  const where =
    name === undefined ? 'there is none for it' : `the credential "${name}" has none for it`;
  throw new DrayError('UNAUTHORIZED', `${registry} wants a login, and ${where}`, {
    context,
    hint: loginHint(registry),
  });
}

function refusedHint(
  registry: string,
  credential: Credential | undefined,
  trusted: boolean,
  realm: string,
): string {
  if (credential === undefined) return loginHint(registry);
  if (!trusted) {
    return `The login was not sent: ${realm} does not belong to ${registry}. If it does, say so in registries.tokenHosts or DRAY_TOKEN_HOSTS.`;
  }
  const from = credential.from === undefined ? '' : ` from ${credential.from}`;
  return `The login${from} is not valid for ${registry}: log in again (dray login ${registry}).`;
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
