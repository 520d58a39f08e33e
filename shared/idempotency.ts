import { DrayError } from './errors.ts';
import { digestOf } from './image/digest.ts';
import { newPullId } from './pull/id.ts';
import type { Redis } from './queue/connection.ts';
import type { Keys } from './queue/names.ts';

/** Seconds for which the key of a request is remembered. */
const kept = 24 * 3600;

/**
 * Keeps for a day which id a caller's key stands for.
 * @returns the id, which may have been in use before
 * @throws CONFLICT when the key came with another request
 */
export async function reserveId(
  redis: Redis,
  keys: Pick<Keys, 'idempotency'>,
  { key, request }: IdempotentRequest,
): Promise<string> {
  const id = newPullId();
  const name = keys.idempotency(key);
  const digest = digestOf(Buffer.from(request));
  const asked = { id, request: digest };
  const mine = JSON.stringify(asked);
  // Sent one after the other and waited for together.
  const [, stored] = await Promise.all([redis.set(name, mine, 'EX', kept, 'NX'), redis.get(name)]);
  // A Cluster that moves keys may have answered the second first.
  const known = JSON.parse(stored ?? (await redis.get(name)) ?? mine) as typeof asked;
  if (known.request === digest) return known.id;
  throw new DrayError('CONFLICT', 'The Idempotency-Key was used for another request', {
    hint: 'Choose a new key for a new request.',
  });
}

/** The same key with the same request, as its caller sent it, has the same effect as once. */
export interface IdempotentRequest {
  key: string;
  request: string;
}
