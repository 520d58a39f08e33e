import { createHash } from 'node:crypto';
import { messageOf } from '../errors.ts';
import type { Redis } from './connection.ts';

/** Begins scripts that need the time: `now`, in milliseconds, by Redis' clock. Those of programs may differ. */
export const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

const digests = new Map<string, string>();

/** Runs a Lua script. Its text is sent only to a Redis that does not know it (any more). */
export async function runScript(
  redis: Redis,
  script: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  return (await runKnown(redis, script, keys, args)).result;
}

/** Connections over which a script was sent with its text. */
const sentOver = new WeakMap<Redis, Set<string>>();

/**
 * As {@link runScript}, for what other commands shall come after that are sent at once: the first time over a
 * connection the script goes with its text.
 * @returns also whether the order was lost: Redis had forgotten the script since, and got its text in a second try
 */
export async function runInOrder(
  redis: Redis,
  script: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<{ result: unknown; isLate: boolean }> {
  let sent = sentOver.get(redis);
  if (sent === undefined) {
    sent = new Set();
    sentOver.set(redis, sent);
  }
  if (sent.has(script)) return await runKnown(redis, script, keys, args);
  const result = await redis.eval(script, keys.length, ...keys, ...args);
  sent.add(script);
  return { result, isLate: false };
}

async function runKnown(
  redis: Redis,
  script: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<{ result: unknown; isLate: boolean }> {
  let digest = digests.get(script);
  if (digest === undefined) {
    // What Redis knows scripts by.
    digest = createHash('sha1').update(script).digest('hex');
    digests.set(script, digest);
  }
  try {
    const result = await redis.evalsha(digest, keys.length, ...keys, ...args);
    return { result, isLate: false };
  } catch (error) {
    if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
    const result = await redis.eval(script, keys.length, ...keys, ...args);
    return { result, isLate: true };
  }
}

type Results = [error: Error | null, result: unknown][];

/** The results of a pipeline or transaction; the first error among them is thrown. */
export async function executed(execution: Promise<Results | null>): Promise<Results> {
  const results = (await execution) ?? [];
  for (const [error] of results) if (error !== null) throw error;
  return results;
}
