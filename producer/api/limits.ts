import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance } from 'fastify';
import { DrayError } from '../../shared/errors.ts';

/** Bytes of a request's body. */
export const maxBody = 1024 * 1024;
/** Milliseconds in which a request must have come. */
export const requestTimeout = 30_000;
/** Milliseconds in which Redis must have answered; and the store, which may have much to list. */
export const redisTimeout = 5_000;
export const storeTimeout = 60_000;

/** Callers that are counted at once. */
const countedCallers = 10_000;

/** Limits what one caller, by its token or address, may ask for in a second. */
export async function limitRate(server: FastifyInstance, perSecond: number): Promise<void> {
  await server.register(rateLimit, {
    max: perSecond,
    timeWindow: 1_000,
    cache: countedCallers,
    // Once it is known whose request it is.
    hook: 'preHandler',
    keyGenerator: (request) => request.caller ?? request.ip,
    enableDraftSpec: true,
    errorResponseBuilder: (request) =>
      new DrayError(
        'RATE_LIMITED',
        `${request.caller ?? request.ip} asked for more than ${perSecond} requests a second`,
        { retryable: true, hint: 'Come back after Retry-After, or raise DRAY_API_RATE.' },
      ),
  });
}

/**
 * What comes of `work`, or an error when that takes too long.
 * @param late makes the error
 */
export function within<T>(ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), ms);
    work.finally(() => clearTimeout(timer)).then(resolve, reject);
  });
}
