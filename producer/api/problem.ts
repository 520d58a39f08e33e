import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { DrayError, type ErrorCode, encodeError } from '../../shared/errors.ts';
import { httpStatusOf } from '../../shared/http-status.ts';

/** An error as the API answers it: problem details (RFC 9457) with the same stable code as the command's. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: ErrorCode;
  detail: string;
  /** What the caller can do. */
  hint?: string;
  /** Whether the same request may succeed later. */
  retryable: boolean;
}

export function problemOf(error: unknown): Problem {
  const { code, message, hint, retryable } = encodeError(error);
  const status = httpStatusOf(code);
  return problem(code, status, message, retryable, hint);
}

/** Answers every failure; those that are this program's fault go to the log. */
export function sendProblem(
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const answer = toProblem(error);
  if (answer.status >= 500)
    request.log.error({ err: error, reqId: request.id }, 'a request failed');
  if (answer.status === 401) void reply.header('www-authenticate', 'Bearer realm="drayage"');
  if (answer.status === 503) void reply.header('retry-after', '2');
  void reply.code(answer.status).type('application/problem+json').send(JSON.stringify(answer));
}

/** The framework's own refusals (a body too large, or no JSON) are the caller's faults. */
function toProblem(error: FastifyError): Problem {
  const { statusCode } = error;
  const isRefusal = statusCode !== undefined && statusCode >= 400 && statusCode < 500;
  if (error instanceof DrayError || !isRefusal) return problemOf(error);
  return problem('USAGE', statusCode, error.message, false);
}

function problem(
  code: ErrorCode,
  status: number,
  detail: string,
  retryable: boolean,
  hint?: string,
): Problem {
  return {
    type: 'about:blank',
    title: code.toLowerCase().replaceAll('_', ' '),
    status,
    code,
    detail,
    ...(hint === undefined ? {} : { hint }),
    retryable,
  };
}
