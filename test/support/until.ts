import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds after which a test that would hang fails: no promise of the product, and enough for a slow machine. */
const patience = 60_000;

/**
 * Waits until something holds, asking again and again, and gives what was found.
 * @param what that does not come about, as the failure says it
 */
export async function until<T>(
  what: string | (() => string),
  look: () => T | Promise<T>,
): Promise<Exclude<T, false | undefined>> {
  for (const end = performance.now() + patience; ; await sleep(20)) {
    const found = await look();
    if (found !== false && found !== undefined) return found as Exclude<T, false | undefined>;
    const said = typeof what === 'string' ? what : what();
    assert.ok(performance.now() < end, `this did not come about: ${said}`);
  }
}
