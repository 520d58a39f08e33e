import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DrayageClient, DrayageError } from '../../../producer/client/client.ts';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { pushImage, randomLayer } from '../../support/push.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { type SlowLink, startSlowLink } from '../../support/slow-link.ts';
import { startApi, type TestApi } from '../api/support.ts';

describe('DrayageClient', () => {
  let registry: TestRegistry;
  let fleet: TestFleet;
  let api: TestApi;
  /** Between the client and the API. */
  let link: SlowLink;
  let client: DrayageClient;
  let reference: string;

  before(async () => {
    registry = await startRegistry();
    fleet = await startFleet();
    await fleet.startWorker('w1');
    api = await startApi(fleet.env);
    link = await startSlowLink(new URL(api.url).host, { bytesPerSecond: 100_000_000 });
    client = new DrayageClient({ url: `http://${link.host}/` });
    const tar = await randomLayer(1_000_000);
    await pushImage(registry.host, 'client', 'v1', [tar]);
    reference = `${registry.host}/client:v1`;
  });
  after(async () => {
    await link[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
  });

  test('pulls, follows to the end, and lists', async () => {
    const { id, state } = await client.pull({ reference });
    assert.match(state, /^(queued|resolving)$/);
    const states: string[] = [];
    for await (const pull of client.waitForPull(id)) states.push(pull.state);
    assert.equal(states.at(-1), 'ready');
    assert.equal((await client.getPull(id)).state, 'ready');
    assert.deepEqual(
      (await Array.fromAsync(client.listImages())).map(({ name }) => name),
      [reference],
    );
    assert.equal((await client.listPulls({ limit: 1 })).items[0]?.id, id);
    assert.deepEqual(await client.listNodes(), []);
    assert.equal((await client.listQueues()).length, 4);
  });

  test('a stream that is cut is taken up again', async () => {
    const slow = await startSlowLink(registry.host, { bytesPerSecond: 0 });
    try {
      const { id } = await client.pull({ reference: `${slow.host}/client:v1` });
      const states: string[] = [];
      for await (const { state } of client.waitForPull(id)) {
        states.push(state);
        if (states.length === 1) {
          link.cut();
          slow.setRate(100_000_000);
        }
      }
      assert.equal(states.at(-1), 'ready');
    } finally {
      await slow[Symbol.asyncDispose]();
    }
  });

  test('a pull whose answer was lost is not created twice', async () => {
    const before = (await client.listPulls()).items.length;
    let sent = 0;
    const losing = new DrayageClient({
      url: api.url,
      async fetch(...args) {
        const response = await fetch(...args);
        if (sent++ > 0) return response;
        await response.text();
        throw new TypeError('fetch failed', { cause: new Error('the connection broke') });
      },
    });
    await losing.pull({ reference });
    assert.equal(sent, 2);
    assert.equal((await client.listPulls()).items.length, before + 1);
  });

  test('what is refused comes as an error with its code, at once', async () => {
    await assert.rejects(client.pull({ reference: 'a b' }), (error: unknown) => {
      assert.ok(error instanceof DrayageError);
      assert.deepEqual([error.code, error.status], ['REFERENCE_INVALID', 400]);
      return true;
    });
    await assert.rejects(client.getPull('nosuchpull'), { code: 'NOT_FOUND' });
    const nobody = new DrayageClient({ url: 'http://127.0.0.1:1', retries: 1 });
    await assert.rejects(nobody.listNodes(), { code: 'UNREACHABLE', status: 0 });
  });

  test('its signal ends the waiting, and the pull can be cancelled', async () => {
    const slow = await startSlowLink(registry.host, { bytesPerSecond: 0 });
    try {
      const { id } = await client.pull({ reference: `${slow.host}/never:v1` });
      const stop = new AbortController();
      const waiting = (async () => {
        for await (const _ of client.waitForPull(id, { signal: stop.signal })) {
          stop.abort(new Error('enough'));
        }
      })();
      await assert.rejects(waiting, /enough/);
      assert.equal((await client.cancelPull(id)).state, 'cancelled');
    } finally {
      await slow[Symbol.asyncDispose]();
    }
  });
});
