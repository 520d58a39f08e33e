import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { DrayError, messageOf } from './errors.ts';

const pollInterval = 20;

function diskFull(file: string, cause: unknown): DrayError {
  return new DrayError('NO_SPACE', `The disk of ${file} is full`, {
    cause,
    hint: 'Free space on it, or set DRAY_STATE to a folder on another disk.',
  });
}

/**
 * Waits for a lock between processes. It is the kernel's lock on a file, taken through SQLite (Node itself has
 * none), so that it goes with its holder: there is no stale one to be told apart and broken.
 * @throws TIMEOUT after `boundMs`, NO_SPACE
 */
export async function acquireLock(
  file: string,
  options: { boundMs: number; signal?: AbortSignal },
): Promise<Disposable> {
  const { boundMs, signal } = options;
  const deadline = Date.now() + boundMs;
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    for (;;) {
      try {
        database.exec('BEGIN EXCLUSIVE');
        return { [Symbol.dispose]: () => database.close() };
      } catch (error) {
        const message = messageOf(error);
        if (message.includes('full')) throw diskFull(file, error);
        if (!message.includes('locked')) throw error;
      }
      if (Date.now() > deadline) {
        throw new DrayError(
          'TIMEOUT',
          `Another dray command has held ${file} for ${boundMs / 1000} s`,
          {
            retryable: true,
            hint: 'See what it does (ps ax | grep dray), and end it if it hangs.',
          },
        );
      }
      await sleep(pollInterval, undefined, signal === undefined ? {} : { signal });
    }
  } catch (error) {
    database.close();
    throw error;
  }
}
