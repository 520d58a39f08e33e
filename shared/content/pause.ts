/**
 * Waits `ms` milliseconds, or until `advanced` says that there is more.
 * @throws the signal's reason
 */
export async function pause(
  ms: number,
  options: { signal?: AbortSignal | undefined; advanced?: EventTarget | undefined },
): Promise<void> {
  const { signal, advanced } = options;
  signal?.throwIfAborted();
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = () => resolve();
  const timer = setTimeout(wake, ms);
  advanced?.addEventListener('advanced', wake);
  signal?.addEventListener('abort', wake);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    advanced?.removeEventListener('advanced', wake);
    signal?.removeEventListener('abort', wake);
  }
  signal?.throwIfAborted();
}
