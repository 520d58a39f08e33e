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
  let digest = digests.get(script);
  if (digest === undefined) {
    // What Redis knows scripts by.
    digest = createHash('sha1').update(script).digest('hex');
    digests.set(script, digest);
  }
  try {
    return await redis.evalsha(digest, keys.length, ...keys, ...args);
  } catch (error) {
    if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
    return await redis.eval(script, keys.length, ...keys, ...args);
  }
}

type Results = [error: Error | null, result: unknown][];

/** The results of a pipeline or transaction; the first error among them is thrown. */
export async function executed(execution: Promise<Results | null>): Promise<Results> {
  const results = (await execution) ?? [];
  for (const [error] of results) if (error !== null) throw error;
  return results;
}
