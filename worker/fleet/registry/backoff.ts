import { setTimeout as sleep } from 'node:timers/promises';
import { DrayError } from '../../../shared/errors.ts';

const maxDelayMs = 10_000;

export interface RetryOptions {
  /** Calls at most, the first included. */
  tries: number;
  /** Milliseconds; doubles with each try. */
  backoffMs: number;
  signal?: AbortSignal | undefined;
}

/** Waits before try number `attempt` (from 1): a random time up to the doubled one, so that crowds spread. */
export async function backoff(
  attempt: number,
  options: Pick<RetryOptions, 'backoffMs' | 'signal'>,
): Promise<void> {
  const ceiling = Math.min(maxDelayMs, options.backoffMs * 2 ** (attempt - 1));
  const { signal } = options;
  const delay = ceiling * (0.5 + Math.random() / 2);
  try {
    await sleep(delay, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

/** Calls `work` again while it fails for reasons that pass by themselves. A registry's limit is not waited for here. */
export async function retrying<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      options.signal?.throwIfAborted();
      const passes = error instanceof DrayError && error.code === 'REGISTRY_UNAVAILABLE';
      if (!passes || !error.retryable || attempt >= options.tries) throw error;
      await backoff(attempt, options);
    }
  }
}
