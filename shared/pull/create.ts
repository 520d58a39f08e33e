import type { Redis } from '../queue/connection.ts';
import type { Keys } from '../queue/names.ts';
import { runInOrder } from '../queue/script.ts';
import { decodeRecord, type PullRecord } from './record.ts';
import { createScript } from './scripts.ts';
import type { PullRequest, PullState, Want } from './status.ts';

/** Milliseconds after which the reconciler looks after a new pull. */
const firstLook = 3_000;

/** What the record of a pull is made of: checked, and with nothing left open. */
export interface NewPull extends Omit<PullRequest, 'selector' | 'platform' | 'want'> {
  platform: string;
  want: Want;
  /** Of each node the platform whose image it gets, where the pull brings more than one. */
  platformOf?: Readonly<Record<string, string>>;
}

/** What only asks a registry, and brings nothing that anybody keeps, is not among the pulls that people look through. */
function isListed(want: Want): boolean {
  return want === 'image' || want === 'object';
}

/**
 * Creates the record of a pull, unless it is there. It is accepted once its resolve job is enqueued too.
 * @returns the record, undefined when it was there; and whether it came later than what was sent after it
 */
export async function createPull(
  redis: Redis,
  keys: Keys,
  request: NewPull,
  id: string,
): Promise<{ record: PullRecord | undefined; isLate: boolean }> {
  const { nodes, platformOf = {}, want, desired } = request;
  const now = Date.now();
  const fields = fieldsOf(request, now);
  const names = [
    ...[keys.pull(id), keys.pullPending(id), keys.open, keys.pulls],
    keys.pullPlatforms(id),
  ];
  const whole = JSON.stringify({ fields, nodes, platformOf });
  const args = [id, now, now + firstLook, Number(isListed(want)), whole];
  const creating = runInOrder(redis, createScript, names, args);
  if (desired !== undefined) {
    await Promise.all([creating, redis.sadd(keys.desiredPulls(desired), id)]);
  }
  const { result, isLate } = await creating;
  return { record: result === 1 ? decodeRecord(id, fields) : undefined, isLate };
}

/** The record of a new pull as Redis has it. */
function fieldsOf(request: NewPull, now: number): Record<string, string> {
  const { reference, platform, nodes, want, given } = request;
  const fields: Record<string, string> = {
    ...{ reference, platform, want, total: String(nodes.length), createdAt: String(now) },
    state: 'queued' satisfies PullState,
  };
  // Nothing else than an image gets a name: there is nothing to wait for.
  if (want !== 'image') fields.named = '1';
  for (const name of ['credential', 'priority', 'policy', 'desired', 'webhook'] as const) {
    const value = request[name];
    if (value !== undefined) fields[name] = value;
  }
  if (given !== undefined) {
    fields.given = '1';
    fields.target = JSON.stringify(given.target);
    fields.askedAt = String(given.askedAt.getTime());
  }
  for (const [name, value] of Object.entries(request.pace ?? {})) {
    if (value !== undefined) fields[name] = String(value);
  }
  return fields;
}
