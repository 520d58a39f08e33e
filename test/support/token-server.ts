import { randomUUID, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Issued } from './authority.ts';

export interface TokenServer {
  /** What registries send to. */
  realm: string;
  /** What was asked of it: `GET scope…`, `POST refresh_token scope…`, and who it was. */
  asked: string[];
  /** Seconds that its tokens are good for; docker-registry allows a minute more. */
  lifeSeconds: number;
  stop: () => Promise<void>;
}

export const tokenService = 'dray-tests';
export const tokenIssuer = 'dray-token-server';

/**
 * Hands out the tokens that docker-registry's `token` configuration takes (distribution's token specification, by GET
 * and by OAuth2 POST): to pull from `public/…` to anybody, from elsewhere to those with the login or its identity token.
 */
export async function startTokenServer(options: {
  /** The registry trusts its certificate. */
  signer: Issued;
  login: { username: string; password: string; identityToken: string };
}): Promise<TokenServer> {
  const { signer, login } = options;
  const basic = Buffer.from(`${login.username}:${login.password}`).toString('base64');
  const chain = [new X509Certificate(signer.certificate).raw.toString('base64')];
  const part = (document: object) => Buffer.from(JSON.stringify(document)).toString('base64url');

  const grant = (subject: string, scopes: string[]) => {
    const now = Math.floor(Date.now() / 1000);
    const access = scopes.flatMap((scope) => {
      const [type = '', name = '', actions = ''] = scope.split(':');
      const allowed = subject !== '' || (name.startsWith('public/') && actions === 'pull');
      return allowed ? [{ type, name, actions: actions.split(',') }] : [];
    });
    const claims = {
      ...{ iss: tokenIssuer, sub: subject, aud: tokenService, jti: randomUUID(), access },
      ...{ iat: now, nbf: now - 60, exp: now + server.lifeSeconds },
    };
    const signed = `${part({ typ: 'JWT', alg: 'ES256', x5c: chain })}.${part(claims)}`;
    const signature = sign('sha256', Buffer.from(signed), {
      ...{ key: signer.key, dsaEncoding: 'ieee-p1363' },
    });
    return `${signed}.${signature.toString('base64url')}`;
  };

  const listener: http.RequestListener = async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://x');
    const form = new URLSearchParams(request.method === 'POST' ? await text(request) : '');
    const kind = form.get('grant_type') ?? '';
    const scopes =
      request.method === 'POST'
        ? (form.get('scope') ?? '').split(' ').filter((scope) => scope !== '')
        : url.searchParams.getAll('scope');
    const { authorization } = request.headers;
    const isUser =
      authorization === `Basic ${basic}` ||
      (kind === 'refresh_token' && form.get('refresh_token') === login.identityToken) ||
      (kind === 'password' &&
        form.get('username') === login.username &&
        form.get('password') === login.password);
    const subject = isUser ? login.username : '';
    server.asked.push([request.method, kind, ...scopes, subject].filter((s) => s !== '').join(' '));
    if (!isUser && (authorization !== undefined || kind !== '')) {
      response.writeHead(401).end('{"errors":[{"code":"UNAUTHORIZED","message":"bad login"}]}');
      return;
    }
    const name = request.method === 'POST' ? 'access_token' : 'token';
    response.end(
      JSON.stringify({ [name]: grant(subject, scopes), expires_in: server.lifeSeconds }),
    );
  };
  const inner = http.createServer(listener).listen(0, 'localhost');
  await once(inner, 'listening');
  const server: TokenServer = {
    realm: `http://localhost:${(inner.address() as AddressInfo).port}/token`,
    asked: [],
    lifeSeconds: 300,
    async stop() {
      inner.closeAllConnections();
      inner.close();
      await once(inner, 'close');
    },
  };
  return server;
}
