import { DrayError } from '../../errors.ts';
import { pause } from '../pause.ts';
import type { IngestOptions } from '../store.ts';

/** Milliseconds before it is tried again; doubled up to the longest. */
const firstPause = 250;
const longestPause = 4_000;

/**
 * Does for an ingest what needs the bucket; while that is out of reach, or fails in passing, again and again, for as
 * long as the ingest is patient: it keeps its bytes meanwhile.
 */
export async function patiently<T>(
  work: () => Promise<T>,
  { patientMs = 0, waiting, signal }: IngestOptions,
): Promise<T> {
  let until: number | undefined;
  for (let wait = firstPause; ; wait = Math.min(2 * wait, longestPause)) {
    try {
      const result = await work();
      if (until !== undefined) waiting?.(undefined);
      return result;
    } catch (error) {
      signal?.throwIfAborted();
      const passes = error instanceof DrayError && error.code === 'STORE_UNAVAILABLE';
      if (!passes || !error.retryable || patientMs === 0) throw error;
      if (until === undefined) waiting?.(error);
      until ??= Date.now() + patientMs;
      if (Date.now() + wait > until) throw error;
      await pause(wait, { signal });
    }
  }
}
