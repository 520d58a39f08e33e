import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { Scope } from '../../shared/access/tokens.ts';
import { DrayError } from '../../shared/errors.ts';

/** What a handler gets: checked, and with a signal that aborts when the caller is gone. */
export interface Call<Params, Query, Body> {
  params: Params;
  query: Query;
  body: Body;
  request: FastifyRequest;
  reply: FastifyReply;
  signal: AbortSignal;
}

/** One operation of the API: what serves it, and what the OpenAPI document says of it. */
export interface Route<
  Params extends z.ZodType = z.ZodType,
  Query extends z.ZodType = z.ZodType,
  Body extends z.ZodType = z.ZodType,
> {
  id: string;
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With `{name}` parts. */
  path: string;
  summary: string;
  description?: string;
  scope: Scope;
  params?: Params;
  query?: Query;
  body?: Body;
  headers?: Record<string, string>;
  answer: { status: number; description: string; schema?: z.ZodType; mediaType?: string };
  /** It asks the content store, which may take longer than Redis. */
  asksStore?: boolean;
  /** It asks the agent of a node, which may take longer too. */
  asksAgent?: boolean;
  /** Also where nothing else needs one: being on this machine is not enough for it. */
  needsToken?: boolean;
  handle: (
    call: Call<z.output<Params>, z.output<Query>, z.output<Body>>,
  ) => Promise<unknown> | unknown;
}

/** Keeps the types of one route's parts together. */
export function route<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType>(
  definition: Route<P, Q, B>,
): Route {
  return definition as unknown as Route;
}

/** Lets those in who may; with `needsToken`, only those who show a token. @throws UNAUTHORIZED, DENIED */
export type Authorize = (
  request: FastifyRequest,
  scope: Scope,
  options?: { needsToken?: boolean },
) => Promise<void>;

/** Serves the routes. */
export function serveRoutes(
  server: FastifyInstance,
  routes: readonly Route[],
  authorize: Authorize,
): void {
  for (const { method, path, scope, params, query, body, answer, handle, needsToken } of routes) {
    server.route({
      method,
      url: path.replaceAll(/\{(\w+)\}/g, ':$1'),
      // Before the body is read: who may not ask, sends nothing.
      onRequest: (request) => authorize(request, scope, { needsToken: needsToken ?? false }),
      handler: async (request, reply) => {
        // Made for those who want it.
        let signal: AbortSignal | undefined;
        const result = await handle({
          params: check(params, request.params, 'the path'),
          query: check(query, request.query, 'the query'),
          body: check(body, request.body, 'the body'),
          request,
          reply,
          get signal() {
            signal ??= signalOf(reply);
            return signal;
          },
        });
        if (reply.sent || reply.raw.headersSent) return reply;
        return reply.code(answer.status).send(result);
      },
    });
  }
}

/** @throws USAGE naming the place */
function check(schema: z.ZodType | undefined, value: unknown, place: string): unknown {
  if (schema === undefined) return undefined;
  const result = schema.safeParse(value ?? {});
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue?.path.join('.') ?? '';
  throw new DrayError(
    'USAGE',
    `In ${place}${where === '' ? '' : `, ${where}`}: ${issue?.message ?? 'not valid'}`,
    { hint: 'GET /openapi.json says what each request takes.' },
  );
}

function signalOf(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) {
      gone.abort(new DrayError('CANCELLED', 'The caller closed the connection'));
    }
  });
  return gone.signal;
}
