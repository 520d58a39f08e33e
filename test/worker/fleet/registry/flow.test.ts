import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { flow, type Take } from '../../../../worker/fleet/registry/flow.ts';

/** A body that never gives more than it is asked for, nor on its own. */
function quietBody(): Readable {
  return new Readable({ read: () => {} });
}

const unchanged = { failed: (error: unknown) => error };

describe('flow', () => {
  test('gives all chunks in order, one after the other', async () => {
    const wanted = Array.from({ length: 200 }, (_, n) => Buffer.from([n]));
    const taken: Uint8Array[] = [];
    let atWork = 0;
    await flow(
      Readable.from(wanted),
      (chunk) => {
        assert.equal(atWork, 0);
        taken.push(chunk);
        // Some at once, some later.
        if ((chunk[0] ?? 0) % 3 > 0) return undefined;
        atWork++;
        return turn().then(() => {
          atWork--;
        });
      },
      unchanged,
    );
    assert.deepEqual(taken, wanted);
  });

  test('holds the body back while a chunk is in use', async () => {
    const body = quietBody();
    const taken: string[] = [];
    const gate = Promise.withResolvers<void>();
    const flowing = flow(
      body,
      (chunk) => {
        taken.push(Buffer.from(chunk).toString());
        return taken.length === 1 ? gate.promise : undefined;
      },
      unchanged,
    );
    body.push('first');
    body.push('second');
    body.push(null);
    for (let n = 0; n < 10; n++) await turn();
    assert.deepEqual(taken, ['first']);
    assert.ok(body.isPaused());
    gate.resolve();
    await flowing;
    assert.deepEqual(taken, ['first', 'second']);
  });

  test('a body that has ended is waited for until its last chunk is used, or refused', async () => {
    for (const refused of [false, true]) {
      const body = quietBody();
      // It stands there whole before anybody reads it: the end follows on the last chunk, paused or not.
      body.push('last');
      body.push(null);
      const gate = Promise.withResolvers<void>();
      let settled = false;
      const flowing = flow(body, () => gate.promise, unchanged).finally(() => {
        settled = true;
      });
      flowing.catch(() => {});
      await once(body, 'close');
      for (let n = 0; n < 10; n++) await turn();
      assert.equal(settled, false);
      if (refused) gate.reject(new Error('full'));
      else gate.resolve();
      if (refused) await assert.rejects(flowing, { message: 'full' });
      else await flowing;
    }
  });

  test('what the taker throws, at once or later, ends the body', async () => {
    const full = new Error('full');
    const takers: Take[] = [
      () => {
        throw full;
      },
      () => turn().then(() => Promise.reject(full)),
    ];
    for (const take of takers) {
      const body = quietBody();
      body.push('bytes');
      await assert.rejects(flow(body, take, { failed: () => new Error('not the body') }), full);
      assert.ok(body.destroyed);
    }
  });

  test('a body that breaks is told as the caller says it, when the taker is done', async () => {
    const body = quietBody();
    const gate = Promise.withResolvers<void>();
    let settled = false;
    const flowing = flow(body, () => gate.promise, {
      failed: (error) => new Error('told', { cause: error }),
    }).finally(() => {
      settled = true;
    });
    flowing.catch(() => {});
    body.push('bytes');
    await once(body, 'pause');
    body.destroy(new Error('broken'));
    for (let n = 0; n < 10; n++) await turn();
    assert.equal(settled, false);
    gate.resolve();
    await assert.rejects(flowing, { message: 'told' });
  });

  test('a body that ends without its end is broken', async () => {
    const body = quietBody();
    const flowing = flow(body, () => undefined, unchanged);
    body.push('bytes');
    body.destroy();
    await assert.rejects(flowing, { code: 'ERR_STREAM_PREMATURE_CLOSE' });
  });

  test('chunks are taken in the context of the caller', async () => {
    const context = new AsyncLocalStorage<string>();
    const body = quietBody();
    const seen: (string | undefined)[] = [];
    const flowing = context.run('ours', () =>
      flow(
        body,
        () => {
          seen.push(context.getStore());
          return undefined;
        },
        unchanged,
      ),
    );
    context.run('theirs', () => {
      body.push('bytes');
      body.push(null);
    });
    await flowing;
    assert.deepEqual(seen, ['ours']);
  });
});
