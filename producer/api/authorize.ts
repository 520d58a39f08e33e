import type { FastifyRequest } from 'fastify';
import {
  allows,
  type Scope,
  type TokenFile,
  type TokenRecord,
  unauthorized,
} from '../../shared/access/tokens.ts';
import { DrayError } from '../../shared/errors.ts';
import type { Authorize } from './route.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The name of the token that the request came with. */
    caller?: string;
  }
}

/** Where bull-board is, and where its cookie counts. */
export const boardPath = '/board';
const cookieName = 'dray_token';

/** Lets those in whose token has the scope; without tokens, whoever is on this machine. */
export function authorizer(tokens: TokenFile): Authorize {
  return async (request, scope, { needsToken = false } = {}) => {
    let record: TokenRecord | undefined;
    try {
      record = await tokens.identify(tokenOf(request), tokenMissing);
    } catch (error) {
      throw isOfFile(error) ? tokensUnreadable(error, request) : error;
    }
    if (record === undefined) {
      refuseOtherSites(request);
      if (needsToken) throw tokenNeeded(scope);
      return;
    }
    request.caller = record.name;
    if (allows(record, scope)) return;
    throw new DrayError('DENIED', `The token ${record.name} has no scope ${scope}`, {
      hint: `It has: ${record.scopes.join(', ')}.`,
    });
  };
}

/** For what a request may ask for only with a token, though its path is open to all on this machine. @throws DENIED */
export function requireToken({ caller }: FastifyRequest, scope: Scope): void {
  if (caller === undefined) throw tokenNeeded(scope);
}

function isOfFile(error: unknown): boolean {
  return error instanceof DrayError && error.code === 'USAGE';
}

/** No fault of the caller, who need not know where the file is either. */
function tokensUnreadable(error: unknown, request: FastifyRequest): DrayError {
  request.log.error({ err: error }, 'nobody gets in');
  return new DrayError('INTERNAL', 'The API can not read its tokens', {
    hint: 'Its log says why.',
    cause: error,
  });
}

function tokenMissing(): DrayError {
  return unauthorized(
    'The request has no token',
    'Send it as: Authorization: Bearer TOKEN. Make one with: dray token create NAME --scope read',
  );
}

/** Who reaches loopback is not root for that, and a container may be. */
function tokenNeeded(scope: Scope): DrayError {
  return new DrayError('DENIED', 'Containers are only for those who show a token', {
    hint: `Make one: dray token create NAME --scope ${scope}`,
  });
}

/** A cookie for bull-board, which a browser opens by itself: other pages can't send it, and no script reads it. */
export function boardCookie(request: FastifyRequest): string {
  const secure = request.protocol === 'https' ? '; Secure' : '';
  const token = bearerOf(request) ?? '';
  return `${cookieName}=${token}; Path=${boardPath}; HttpOnly; SameSite=Strict${secure}`;
}

function tokenOf(request: FastifyRequest): string | undefined {
  const isBoard = request.url === boardPath || request.url.startsWith(`${boardPath}/`);
  return bearerOf(request) ?? (isBoard ? cookieOf(request) : undefined);
}

function bearerOf({ headers }: FastifyRequest): string | undefined {
  return /^Bearer ([\w-]{1,256})$/i.exec(headers.authorization ?? '')?.[1];
}

function cookieOf(request: FastifyRequest): string | undefined {
  const found = new RegExp(`(?:^|; )${cookieName}=([\\w-]{1,256})(?:;|$)`).exec(
    request.headers.cookie ?? '',
  );
  if (found !== null) refuseOtherOrigins(request);
  return found?.[1];
}

/**
 * A browser on this machine reaches loopback for any page that it shows. Such a page gives itself away by its
 * origin, or, where its name was made to lead here, by the host that it asks for.
 * @throws DENIED
 */
function refuseOtherSites(request: FastifyRequest): void {
  const host = request.headers.host ?? '';
  if (!/^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i.test(host)) {
    throw new DrayError(
      'DENIED',
      `Without tokens the API answers on loopback only, not as ${host}`,
      {
        hint: 'Make a token: dray token create NAME --scope read',
      },
    );
  }
  refuseOtherOrigins(request);
}

function refuseOtherOrigins({ headers, protocol }: FastifyRequest): void {
  const { origin, host } = headers;
  const isOther = origin !== undefined && origin !== `${protocol}://${host}`;
  if (!isOther && headers['sec-fetch-site'] !== 'cross-site') return;
  throw new DrayError('DENIED', `A page of another site, ${origin ?? 'unknown'}, asked for this`, {
    hint: 'Use a token, which such a page does not have.',
  });
}
