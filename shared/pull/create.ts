import { DrayError } from '../errors.ts';
import { digestOf } from '../image/digest.ts';
import type { Redis } from '../queue/connection.ts';
import type { Keys } from '../queue/names.ts';
import { decodeRecord, newPullId, type PullRecord } from './record.ts';
import { createScript } from './scripts.ts';
import type { PullRequest, PullState } from './status.ts';

/** Seconds for which the key of a request is remembered. */
const keepIdempotency = 24 * 3600;
/** Milliseconds after which the reconciler looks after a new pull. */
const firstLook = 3_000;

/** What the record of a pull is made of: checked, and with nothing left open. */
export type NewPull = Omit<PullRequest, 'selector'> &
  Required<Pick<PullRequest, 'platform' | 'want'>>;

/**
 * Keeps for a day which pull a caller's key stands for.
 * @returns the id of that pull, which may have been created before
 * @throws CONFLICT when the key came with another request
 */
export async function reservePull(
  redis: Redis,
  keys: Keys,
  key: string,
  request: string,
): Promise<string> {
  const id = newPullId();
  const name = keys.idempotency(key);
  const mine = JSON.stringify({ id, request: digestOf(Buffer.from(request)) });
  await redis.set(name, mine, 'EX', keepIdempotency, 'NX');
  const kept = JSON.parse((await redis.get(name)) ?? mine) as { id: string; request: string };
  if (kept.request === digestOf(Buffer.from(request))) return kept.id;
  throw new DrayError('CONFLICT', 'The Idempotency-Key was used for another request', {
    hint: 'Choose a new key for a new request.',
  });
}

/**
 * Creates the record of a pull, unless it is there. It is accepted once its resolve job is enqueued too.
 * @returns the record; undefined when it was there
 */
export async function createPull(
  redis: Redis,
  keys: Keys,
  request: NewPull,
  id: string,
): Promise<PullRecord | undefined> {
  const { reference, platform, nodes, want, credential, priority } = request;
  const { policy, desired, webhook, given, pace } = request;
  const now = Date.now();
  const set = Object.entries({
    ...{ reference, platform, want, total: nodes.length, createdAt: now },
    state: 'queued' satisfies PullState,
    // Nothing else than an image gets a name: there is nothing to wait for.
    ...(want === 'image' ? {} : { named: 1 }),
    ...{ credential, priority, policy, desired, webhook },
    ...(given === undefined
      ? {}
      : { given: 1, target: JSON.stringify(given.target), askedAt: given.askedAt.getTime() }),
    ...pace,
  }).filter(([, value]) => value !== undefined);
  const fields = Object.fromEntries(set.map(([name, value]) => [name, String(value)]));
  if (desired !== undefined) await redis.sadd(keys.desiredPulls(desired), id);
  const isNew = await redis.eval(
    createScript,
    4,
    ...[keys.pull(id), keys.pullPending(id), keys.open, keys.pulls],
    ...[id, now, now + firstLook, JSON.stringify(nodes)],
    ...Object.entries(fields).flat(),
  );
  return isNew === 1 ? decodeRecord(id, fields) : undefined;
}
