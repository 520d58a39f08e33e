import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Flush } from '../../../../worker/agent/snapshot/flush.ts';

/** A disk whose flushes end when the test says so. */
function slowDisk() {
  const flushes: PromiseWithResolvers<void>[] = [];
  const flush = new Flush(() => {
    const flushing = Promise.withResolvers<void>();
    flushes.push(flushing);
    return flushing.promise;
  });
  return { flush, flushes };
}

describe('a flush', () => {
  test('is begun for the first who asks, and once more for all who come meanwhile', async () => {
    const { flush, flushes } = slowDisk();
    const ended: string[] = [];
    const ask = (name: string) => flush.everythingSoFar('/').then(() => ended.push(name));
    const all = [ask('first'), ask('second'), ask('third')];
    assert.equal(flushes.length, 1);
    flushes[0]?.resolve();
    await all[0];
    // What the others wrote may have come after the first flush had passed it.
    assert.deepEqual(ended, ['first']);
    while (flushes.length < 2) await new Promise(setImmediate);
    flushes[1]?.resolve();
    await Promise.all(all);
    assert.deepEqual(ended, ['first', 'second', 'third']);
    assert.equal(flushes.length, 2);
  });

  test('that fails fails for those who shared it, and for nobody else', async () => {
    const { flush, flushes } = slowDisk();
    const asked = ['first', 'second', 'third'].map(() => flush.everythingSoFar('/'));
    const outcomes = Promise.allSettled(asked);
    flushes[0]?.reject(new Error('EIO'));
    while (flushes.length < 2) await new Promise(setImmediate);
    flushes[1]?.resolve();
    const states = (await outcomes).map(({ status }) => status);
    assert.deepEqual(states, ['rejected', 'fulfilled', 'fulfilled']);
    const later = flush.everythingSoFar('/');
    assert.equal(flushes.length, 3);
    flushes[2]?.resolve();
    await later;
  });
});
