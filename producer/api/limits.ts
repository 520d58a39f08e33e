import type { FastifyInstance } from 'fastify';
import { DrayError } from '../../shared/errors.ts';

/** Bytes of a request's body. */
export const maxBody = 1024 * 1024;
/** Milliseconds in which a request must have come. */
export const requestTimeout = 30_000;
/** Milliseconds in which Redis must have answered; and the store, which may have much to list. */
export const redisTimeout = 5_000;
export const storeTimeout = 60_000;

/** Milliseconds that are counted together. */
const windowMs = 1_000;

/**
 * Limits what one caller, by its token or address, may ask of this process in a second. What comes of it is in the
 * RateLimit headers of each answer (draft-ietf-httpapi-ratelimit-headers-06).
 */
export function limitRate(server: FastifyInstance, perSecond: number): void {
  let counts = new Map<string, number>();
  let until = 0;
  // Once it is known whose request it is.
  server.addHook('preHandler', (request, reply, done) => {
    const now = performance.now();
    if (now >= until) {
      counts = new Map();
      until = now + windowMs;
    }
    const caller = request.caller ?? request.ip;
    const count = (counts.get(caller) ?? 0) + 1;
    counts.set(caller, count);
    void reply
      .header('ratelimit-limit', perSecond)
      .header('ratelimit-remaining', Math.max(0, perSecond - count))
      .header('ratelimit-reset', windowMs / 1_000);
    if (count <= perSecond) {
      done();
      return;
    }
    void reply.header('retry-after', windowMs / 1_000);
    done(
      new DrayError(
        'RATE_LIMITED',
        `${caller} asked for more than ${perSecond} requests a second`,
        { retryable: true, hint: 'Come back after Retry-After, or raise DRAY_API_RATE.' },
      ),
    );
  });
}

/**
 * What comes of `work`, or an error when that takes too long.
 * @param late makes the error
 */
export function within<T>(ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), ms);
    // Each request comes through here, and finally() makes three promises of one.
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
