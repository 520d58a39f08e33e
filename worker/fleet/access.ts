import { scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import type { CallOptions, Store } from '../../shared/content/store.ts';
import { ageOf } from '../../shared/duration.ts';
import { DrayError } from '../../shared/errors.ts';
import type { Digest } from '../../shared/image/digest.ts';
import type { Reference } from '../../shared/image/reference.ts';
import type { AccessRecord, VerifiedLogin } from '../../shared/registry/access.ts';
import type { RegistryClient } from './registry/client.ts';
import {
  type Credential,
  type CredentialSource,
  secretOf,
} from './registry/credentials/credential.ts';

const derive = promisify(scrypt) as (
  secret: string,
  salt: string,
  length: number,
) => Promise<Buffer>;

type Repository = Pick<Reference, 'registry' | 'repository'>;
type Options = CallOptions & { credential: string | undefined };

/**
 * Who may have an image that the store has already. What a registry gave to a login is for callers with that login
 * only, for as long as is configured after it said so last; then, and to others, it has to say so again. What it gave to
 * somebody without a login is for anybody. (As Kubernetes has it for images on nodes: KEP-2535.) The records stand in
 * the store; of a login they have a digest that is slow to compute and has the repository in it.
 */
export class Access {
  readonly #store: Pick<Store, 'access'>;
  readonly #client: Pick<RegistryClient, 'head'>;
  readonly #credentials: CredentialSource;
  readonly #verifiedForMs: number;
  readonly #digests = new Map<string, Promise<string>>();

  constructor(options: {
    store: Pick<Store, 'access'>;
    client: Pick<RegistryClient, 'head'>;
    credentials: CredentialSource;
    verifiedForMs: number;
  }) {
    this.#store = options.store;
    this.#client = options.client;
    this.#credentials = options.credentials;
    this.#verifiedForMs = options.verifiedForMs;
  }

  /** A registry gave something of a repository to whoever showed `login`, or nothing. */
  async granted(of: Repository, login: Credential | undefined, options: Options): Promise<void> {
    const name = nameOf(of);
    const before = (await this.#store.access.get(name, options)) ?? { name, logins: [] };
    const now = new Date();
    if (login === undefined) {
      if (before.publicAt !== undefined) return;
      await this.#store.access.put({ ...before, publicAt: now }, options);
      return;
    }
    const digest = await this.#digestOf(name, login);
    const known = before.logins.find((each) => each.digest === digest);
    // Not for each pull: what is written late costs the registry one question more.
    if (known !== undefined && ageMs(known) < this.#verifiedForMs / 4) return;
    const { credential } = options;
    const verified: VerifiedLogin = {
      ...{ digest, verifiedAt: now },
      ...(credential === undefined ? {} : { credential }),
    };
    const others = before.logins.filter(
      (each) => each.digest !== digest && ageMs(each) < this.#verifiedForMs,
    );
    await this.#store.access.put({ ...before, logins: [...others, verified] }, options);
  }

  /** Whether the registry need not be asked. @throws NOT_FOUND for a credential that this worker does not have */
  async isKnown(of: Repository, options: Options): Promise<boolean> {
    const record = await this.#store.access.get(nameOf(of), options);
    if (record?.publicAt !== undefined) return true;
    const last = await this.#verified(of, record, options);
    return last !== undefined && ageMs(last) < this.#verifiedForMs;
  }

  /**
   * Makes sure that a caller may have what the store has from a repository; asks the registry where that is not known.
   * @throws DENIED, UNAUTHORIZED; REGISTRY_UNAVAILABLE and RATE_LIMITED when the registry can't say
   */
  async require(of: Repository, digest: Digest, options: Options): Promise<void> {
    if (await this.isKnown(of, options)) return;
    const { registry, repository } = of;
    let login: Credential | undefined;
    try {
      const found = await this.#client.head(
        { registry, repository, digest },
        { ...options, onLogin: (shown) => (login = shown) },
      );
      if (found === undefined) throw gone(of, digest);
    } catch (error) {
      throw await this.#explained(error, of, options);
    }
    await this.granted(of, login, options);
  }

  async #verified(
    of: Repository,
    record: AccessRecord | undefined,
    { credential }: Options,
  ): Promise<VerifiedLogin | undefined> {
    if (record === undefined || record.logins.length === 0) return undefined;
    const login = await this.#credentials({ ...of, name: credential });
    if (login === undefined) return undefined;
    const digest = await this.#digestOf(record.name, login);
    return record.logins.find((each) => each.digest === digest);
  }

  async #explained(error: unknown, of: Repository, options: Options): Promise<unknown> {
    if (!(error instanceof DrayError)) return error;
    const { code, message, retryable, context, hint = '' } = error;
    const name = nameOf(of);
    if (code === 'DENIED' || code === 'UNAUTHORIZED') {
      const why = `The store has it, but ${name} is only for those to whom its registry gives it`;
      return new DrayError(code, `${why}: ${message}`, { cause: error, context, hint });
    }
    if (code !== 'REGISTRY_UNAVAILABLE' && code !== 'RATE_LIMITED') return error;
    const record = await this.#store.access.get(name, options).catch(() => undefined);
    const last = await this.#verified(of, record, options).catch(() => undefined);
    const since =
      last === undefined
        ? 'it has not yet'
        : `it did last ${ageOf(last.verifiedAt, new Date())} ago, which is too long (registries.verifiedFor)`;
    return new DrayError(code, message, {
      ...{ retryable, cause: error, context },
      hint: `The store has it, but ${name} must say that this login may have it: ${since}. ${hint}`.trim(),
    });
  }

  #digestOf(name: string, login: Credential): Promise<string> {
    const secret = secretOf(login);
    const key = `${name} ${secret}`;
    let digest = this.#digests.get(key);
    if (digest === undefined) {
      if (this.#digests.size >= 1_000) this.#digests.clear();
      digest = derive(secret, `drayage ${name}`, 32).then((bytes) => bytes.toString('hex'));
      this.#digests.set(key, digest);
      // What failed for want of memory may succeed the next time.
      digest.catch(() => this.#digests.delete(key));
    }
    return digest;
  }
}

function nameOf({ registry, repository }: Repository): string {
  return `${registry}/${repository}`;
}

function ageMs({ verifiedAt }: VerifiedLogin): number {
  return Date.now() - verifiedAt.getTime();
}

function gone(of: Repository, digest: Digest): DrayError {
  return new DrayError('DENIED', `${nameOf(of)} has no ${digest} for this login, or not any more`, {
    hint: 'Pull another version, or with another login (--credential).',
  });
}
