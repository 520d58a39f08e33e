import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { DrayError, type EncodedError, encodeError } from '../../../shared/errors.ts';
import { httpStatusOf } from '../../../shared/http-status.ts';

/** Answers with the encoded error and the status that fits its code. */
export function sendError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const encoded = encode(error);
  const status = error instanceof DrayError ? httpStatusOf(error.code) : (error.statusCode ?? 500);
  if (status >= 500) request.log.error({ err: error }, 'a request failed');
  void reply.code(status).send({ error: encoded });
}

/** The framework's own refusals (a body too large, or no JSON) are the caller's faults. */
function encode(error: FastifyError): EncodedError {
  const isRefusal = error.statusCode !== undefined && error.statusCode < 500;
  if (error instanceof DrayError || !isRefusal) return encodeError(error);
  return { code: 'USAGE', message: error.message, retryable: false };
}
