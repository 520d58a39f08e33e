/** `npm run chaos` takes the full dose; the tests that run with all others take a bounded one. */
export const isFull = process.env.DRAY_CHAOS === 'full';

export function dose<T>(bounded: T, full: T): T {
  return isFull ? full : bounded;
}
