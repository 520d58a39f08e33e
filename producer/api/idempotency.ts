import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { DrayError } from '../../shared/errors.ts';

const maxLength = 255;

/** The Idempotency-Key of a request, apart from that of other callers. @throws USAGE */
export function idempotencyKey(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || key === '' || key.length > maxLength) {
    throw new DrayError('USAGE', `The Idempotency-Key is not of 1 to ${maxLength} characters`);
  }
  const caller = request.caller ?? '';
  return createHash('sha256').update(`${caller}\0${key}`).digest('hex');
}
