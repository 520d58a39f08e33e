import { z } from 'zod';
import type { Credential } from './credentials/credential.ts';
import type { Outgoing } from './transport.ts';

const clientId = 'drayage';
const defaultLifeSeconds = 60;
const maxLifeSeconds = 3600;

const tokenSchema = z.object({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().nullish(),
});

/** The value of an Authorization header (RFC 7617). */
export function basicHeader({
  username,
  password,
}: {
  username: string;
  password: string;
}): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

type TokenRequest = Pick<Outgoing, 'method' | 'url' | 'authorization' | 'headers' | 'body'>;
type Shown = Exclude<Credential, { registryToken: string }> | undefined;

/** Distribution's token specification: the login as basic. */
export function byGet(
  realm: URL,
  service: string | undefined,
  scopes: string[],
  shown: Shown,
): TokenRequest {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  const authorization = shown !== undefined && 'password' in shown ? basicHeader(shown) : undefined;
  return { method: 'GET', url, authorization };
}

/** Distribution's OAuth2 specification: the login in a form. */
export function byPost(
  realm: URL,
  service: string | undefined,
  scopes: string[],
  shown: Shown,
): TokenRequest {
  const form = new URLSearchParams({ client_id: clientId });
  if (service !== undefined) form.set('service', service);
  if (scopes.length > 0) form.set('scope', scopes.join(' '));
  if (shown !== undefined && 'identityToken' in shown) {
    form.set('grant_type', 'refresh_token');
    form.set('refresh_token', shown.identityToken);
  } else if (shown !== undefined) {
    form.set('grant_type', 'password');
    form.set('username', shown.username);
    form.set('password', shown.password);
  }
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return { method: 'POST', url: realm, headers, body: form.toString() };
}

/** What must not come back in a message. */
export function secretsOf(credential: Credential | undefined): string[] {
  if (credential === undefined) return [];
  if ('registryToken' in credential) return [credential.registryToken];
  if ('identityToken' in credential) return [credential.identityToken];
  const { password } = credential;
  return [password, basicHeader(credential).slice('Basic '.length)];
}

/** What a token server answered; undefined when it is no token that can be sent. */
export function parseToken(bytes: Buffer): { token: string; lifeMs: number } | undefined {
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
