import { DrayError } from '../../shared/errors.ts';

/** Milliseconds between two looks. */
const interval = 1_000;

/**
 * Does work as long as somebody wants it: its signal aborts soon after `isWanted` says no.
 * @throws CANCELLED then, and what the work throws
 */
export async function whileWanted<T>(
  isWanted: () => Promise<boolean>,
  options: { signal: AbortSignal },
  work: (options: { signal: AbortSignal }) => Promise<T>,
): Promise<T> {
  const unwanted = new AbortController();
  const timer = setInterval(() => {
    isWanted().then(
      (wanted) => {
        if (!wanted) unwanted.abort(new DrayError('CANCELLED', 'No pull waits for it any more'));
      },
      () => {
        // Redis is away: it is wanted until Redis says otherwise.
      },
    );
  }, interval);
  try {
    return await work({ signal: AbortSignal.any([options.signal, unwanted.signal]) });
  } catch (error) {
    // What a library makes of the abort tells less.
    options.signal.throwIfAborted();
    unwanted.signal.throwIfAborted();
    throw error;
  } finally {
    clearInterval(timer);
  }
}
