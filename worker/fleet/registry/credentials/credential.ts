/** What a registry knows somebody by. Nothing of it but `from` may get into a message, a log or Redis. */
export type Credential = (
  | { username: string; password: string }
  /** Changed for access tokens at the registry's token server (OAuth2 refresh token). */
  | { identityToken: string }
  /** Sent as it is, as a bearer token. */
  | { registryToken: string }
) & {
  /** Where it was found, for people: a file, or a file and the helper that it names. */
  from?: string;
};

/** Whose credential is wanted. */
export interface CredentialQuery {
  /** `host[:port]`, as references name it. */
  registry: string;
  repository?: string | undefined;
  /** The name that a pull gave, when it gave one: no other credential counts then. */
  name?: string | undefined;
}

export interface CredentialOptions {
  /** What a helper said before is not good enough: the registry refused it. */
  fresh?: boolean;
}

/** Gives the credential for a registry, if there is one. Cheap enough to be called for each request. */
export type CredentialSource = (
  query: CredentialQuery,
  options?: CredentialOptions,
) => Promise<Credential | undefined>;

/** Whether both are the same login, wherever they came from. */
export function sameCredential(a: Credential | undefined, b: Credential | undefined): boolean {
  return secretOf(a) === secretOf(b);
}

/** What it is apart from where it was found: as secret as it is. */
export function secretOf(credential: Credential | undefined): string {
  if (credential === undefined) return '';
  const { from: _, ...secret } = credential;
  return JSON.stringify(secret);
}
