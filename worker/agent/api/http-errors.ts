import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import {
  DrayError,
  type EncodedError,
  type ErrorCode,
  encodeError,
} from '../../../shared/errors.ts';

const statuses: Partial<Record<ErrorCode, number>> = {
  USAGE: 400,
  REFERENCE_INVALID: 400,
  DIGEST_INVALID: 400,
  PLATFORM_INVALID: 400,
  PAYLOAD_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  NOT_FOUND: 404,
  IMAGE_UNKNOWN: 404,
  BLOB_UNKNOWN: 404,
  CONFLICT: 409,
  CONFIG_INVALID: 422,
  USER_UNKNOWN: 422,
  COMMAND_MISSING: 422,
  MANIFEST_INVALID: 422,
  MANIFEST_UNSUPPORTED: 422,
  LAYER_INVALID: 422,
  LAYER_LIMIT: 422,
  DIFFID_MISMATCH: 422,
  RATE_LIMITED: 429,
  CANCELLED: 499,
  STORE_UNAVAILABLE: 503,
  QUEUE_UNAVAILABLE: 503,
  AGENT_UNAVAILABLE: 503,
  TIMEOUT: 504,
  NO_SPACE: 507,
};

/** Answers with the encoded error and the status that fits its code. */
export function sendError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const encoded = encode(error);
  const status =
    error instanceof DrayError ? (statuses[error.code] ?? 500) : (error.statusCode ?? 500);
  if (status >= 500) request.log.error({ err: error }, 'a request failed');
  void reply.code(status).send({ error: encoded });
}

/** The framework's own refusals (a body too large, or no JSON) are the caller's faults. */
function encode(error: FastifyError): EncodedError {
  const isRefusal = error.statusCode !== undefined && error.statusCode < 500;
  if (error instanceof DrayError || !isRefusal) return encodeError(error);
  return { code: 'USAGE', message: error.message, retryable: false };
}
