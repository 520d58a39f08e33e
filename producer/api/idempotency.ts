import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { DrayError } from '../../shared/errors.ts';
import type { IdempotentRequest } from '../../shared/idempotency.ts';

const maxLength = 255;

/**
 * The option of what the same request with the same Idempotency-Key shall do once.
 * @param sent tells what the request asks for, with which the key counts
 * @throws USAGE
 */
export function idempotentRequest(
  request: FastifyRequest,
  sent: () => string,
): { idempotency?: IdempotentRequest } {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return {};
  if (typeof key !== 'string' || key === '' || key.length > maxLength) {
    throw new DrayError('USAGE', `The Idempotency-Key is not of 1 to ${maxLength} characters`);
  }
  // Apart from those of other callers.
  const caller = request.caller ?? '';
  const digest = createHash('sha256').update(`${caller}\0${key}`).digest('hex');
  return { idempotency: { key: digest, request: sent() } };
}
