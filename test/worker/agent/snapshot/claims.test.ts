import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Claims } from '../../../../worker/agent/snapshot/claims.ts';

test('a claim is held by one at a time, and passes on in order past those who left', async () => {
  const claims = new Claims();
  const order: string[] = [];
  const first = await claims.take('a');
  const leaving = new AbortController();
  const waiting = ['b', 'left', 'c'].map(async (name) => {
    const signal = name === 'left' ? leaving.signal : undefined;
    using _claim = await claims.take('a', signal === undefined ? {} : { signal });
    order.push(name);
    await turn();
  });
  using _other = await claims.take('another key');
  leaving.abort(new Error('no longer wanted'));
  await assert.rejects(waiting[1] ?? Promise.resolve(), /no longer wanted/);
  assert.deepEqual(order, []);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await Promise.allSettled(waiting);
  assert.deepEqual(order, ['b', 'c']);
  using _again = await claims.take('a');
  await assert.rejects(claims.take('a', { signal: AbortSignal.abort() }), { name: 'AbortError' });
});
