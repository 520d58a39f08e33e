/** Waits for all of them, also when one has failed: what follows finds none at work. @throws the first failure */
export async function allDone(ways: readonly Promise<unknown>[]): Promise<void> {
  for (const way of await Promise.allSettled(ways)) {
    if (way.status === 'rejected') throw way.reason;
  }
}
