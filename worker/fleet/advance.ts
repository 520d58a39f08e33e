import { setTimeout as sleep } from 'node:timers/promises';
import { duplicate } from '../../shared/queue/connection.ts';
import type { MendServices } from './mend.ts';
import { followUps } from './resolve.ts';

/** Seconds that one wait takes at most. */
const longestWait = 2;
/** Milliseconds after which it is tried again when Redis was away. */
const retryInterval = 1_000;

/**
 * Lets the next nodes of pulls begin, as soon as others have ended. A pull that a dying worker took with it is found
 * by the reconciler within seconds. Ends when `signal` aborts.
 */
export async function advanceForever(
  services: MendServices,
  options: { signal: AbortSignal },
): Promise<void> {
  const { redis, records, queues, log } = services;
  const { signal } = options;
  const connection = duplicate(redis);
  const stop = () => connection.disconnect();
  signal.addEventListener('abort', stop, { once: true });
  while (!signal.aborted) {
    try {
      const found = await connection.blpop(records.keys.next, longestWait);
      if (found !== null) await queues.add(await followUps(found[1], services, options));
    } catch (error) {
      if (signal.aborted) break;
      log.warn({ err: error }, 'the next nodes of a pull wait for the reconciler');
      await sleep(retryInterval, undefined, options).catch(() => {});
    }
  }
  signal.removeEventListener('abort', stop);
  connection.disconnect();
}
