import type { RequestListener } from 'node:http';
import type { TestContext } from 'node:test';
import { parseReference, type Reference } from '../../../../shared/image/reference.ts';
import type { RegistryClient } from '../../../../worker/fleet/registry/client.ts';
import { fetchBlob } from '../../../../worker/fleet/registry/fetch.ts';
import {
  type Certificate,
  type HostileRegistry,
  startHostileRegistry,
} from '../../../support/hostile-registry.ts';
import { descriptorOf, MemorySink } from './support.ts';

/** What a guarded registry gives to who has a token. */
export const blob = Buffer.from('a layer '.repeat(10_000));
export const descriptor = descriptorOf(blob);
export const place = `/v2/a/b/blobs/${descriptor.digest}`;

/** A login that is to be seen nowhere but at its realm. */
export const credentials = async () => ({ username: 'u', password: 'canary-5w0rd' });

export interface GuardedRegistry extends HostileRegistry {
  /** Of the repository, by the name `localhost`. */
  reference: Reference;
  /** How many tokens were given out by `/token`: `token-1`, `token-2`, … */
  tokenCount: () => number;
}

/** A registry that gives a blob to who has a token, and tokens to anybody. */
export async function startGuarded(
  t: TestContext,
  options: {
    tls?: Certificate;
    /** Where tokens are, as the registry says; default: at its own `/token`. */
    realm?: (registry: HostileRegistry) => string;
    accepts?: (token: string) => boolean;
    /** What a token answer has beside the token. */
    extra?: object;
    give?: RequestListener;
  } = {},
): Promise<GuardedRegistry> {
  const { tls, realm = ({ origin }) => `${origin}/token`, accepts = () => true } = options;
  const registry = await startHostileRegistry(tls === undefined ? {} : { tls });
  t.after(() => registry.stop());
  let count = 0;
  registry.on('/token', (_request, response) => {
    response.end(JSON.stringify({ token: `token-${++count}`, ...options.extra }));
  });
  registry.on(place, guarded(realm(registry), accepts, options.give ?? giveBlob));
  const reference = parseReference(`${registry.host}/a/b`);
  return { ...registry, reference, tokenCount: () => count };
}

/** Asks for a token of `realm` unless the request has one that `accepts` takes. */
export function guarded(
  realm: string,
  accepts: (token: string) => boolean,
  handler: RequestListener,
): RequestListener {
  return (request, response) => {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (token !== undefined && accepts(token)) return handler(request, response);
    const scope = 'repository:a/b:pull';
    response
      .writeHead(401, {
        'www-authenticate': `Bearer realm="${realm}",service="s x",scope="${scope}"`,
      })
      .end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
  };
}

export const giveBlob: RequestListener = (request, response) => {
  const from = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
  const rest = blob.subarray(Number(from ?? 0));
  const range = { 'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}` };
  response.writeHead(from === undefined ? 200 : 206, from === undefined ? {} : range).end(rest);
};

/** Fetches the blob to its end. */
export async function fetchAll(client: RegistryClient, reference: Reference): Promise<Buffer> {
  const sink = new MemorySink();
  const { signal } = new AbortController();
  await fetchBlob(client, reference, descriptor, sink, { signal, backoffMs: 1 });
  return sink.bytes;
}

/** What a registry was asked at `/token`. */
export function tokenRequests({ requests }: HostileRegistry): HostileRegistry['requests'] {
  return requests.filter(({ path }) => path.startsWith('/token'));
}
