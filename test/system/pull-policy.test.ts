import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openStore } from '../../shared/content/open.ts';
import type { Store } from '../../shared/content/store.ts';
import type { PullRequest, PullStatus } from '../../shared/pull/status.ts';
import { dray } from '../producer/cli/dray.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import { startLimitedRegistry } from '../support/limited-registry.ts';
import { pushImage, tarOf } from '../support/push.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

const hour = 3_600_000;

describe('when a tag is asked of its registry', () => {
  let fleet: TestFleet;
  let registry: TestRegistry;
  let store: Store;

  before(async () => {
    registry = await startRegistry();
    fleet = await startFleet();
    store = await openStore(fleet.config.store);
    await fleet.startWorker('w1');
  });
  after(async () => {
    await store[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
  });

  async function pull(request: Omit<PullRequest, 'nodes'>): Promise<PullStatus> {
    return await fleet.ended(await fleet.pull({ nodes: [], ...request }), 240_000);
  }

  async function push(name: string, content: string) {
    return await pushImage(registry.host, name, 'v1', [await tarOf([{ name: 'file', content }])]);
  }

  async function makeOlder(name: string, ms: number): Promise<Date> {
    const record = await store.images.get(name);
    assert.ok(record !== undefined);
    const updatedAt = new Date(Date.now() - ms);
    await store.images.put({ ...record, updatedAt });
    return updatedAt;
  }

  test('always, missing, if-stale: by the age of what the store has, which is shown and does not grow younger', async () => {
    const first = await push('policy', '1');
    const { reference } = first;
    assert.equal((await pull({ reference, policy: 'missing' })).target?.digest, first.digest);
    const second = await push('policy', '2');
    const updatedAt = await makeOlder(reference, 3 * hour);
    for (const policy of ['missing', 'if-stale=4h']) {
      const status = await pull({ reference, policy });
      assert.equal(status.state, 'ready', JSON.stringify(status.error));
      assert.equal(status.target?.digest, first.digest);
      assert.equal(status.askedAt?.getTime(), updatedAt.getTime());
      assert.equal(
        (await store.images.get(reference))?.updatedAt.getTime(),
        updatedAt.getTime(),
        'using it does not make it younger',
      );
    }
    const stale = await pull({ reference, policy: 'if-stale=2h' });
    assert.equal(stale.target?.digest, second.digest);
    assert.equal(stale.askedAt, undefined);
    const third = await push('policy', '3');
    assert.equal((await pull({ reference })).target?.digest, third.digest);
    await makeOlder(reference, 3 * hour);
    const shown = await dray(['pull', '--pull', 'missing', '--progress', 'plain', reference], {
      env: fleet.env,
    });
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stderr, /resolved sha256:[0-9a-f]{64} \(from the store, 3 h old\)/);
  });

  test('over its limit: digests and tags by policy come from the store, others wait and say what there is', async () => {
    await using limited = await startLimitedRegistry({
      tags: 1,
      perSecond: 100,
      refusal: { 'retry-after': '600' },
    });
    const [reference = ''] = limited.references;
    const pulled = await pull({ reference });
    assert.equal(pulled.state, 'ready', JSON.stringify(pulled.error));
    await makeOlder(reference, 2 * hour);
    limited.registry.on('/v2/image/manifests/t0', (_request, response) => {
      response.writeHead(429, { 'retry-after': '600' }).end();
    });
    const id = await fleet.pull({ reference, nodes: [] });
    let noted: PullStatus | undefined;
    for await (const status of fleet.pulls.watch(id, { signal: AbortSignal.timeout(60_000) })) {
      noted = status;
      if (status.note !== undefined) break;
    }
    assert.match(
      noted?.note ?? '',
      /^waiting until .*Z: .*The store has it as it was 2 h ago\. To use that: dray pull --pull missing/,
    );
    const asked = limited.asked.length;
    const byDigest = `${limited.registry.host}/image@${pulled.target?.digest}`;
    for (const request of [{ reference, policy: 'missing' }, { reference: byDigest }]) {
      const status = await pull(request);
      assert.equal(status.state, 'ready', JSON.stringify(status.error));
      assert.equal(status.target?.digest, pulled.target?.digest);
    }
    assert.equal(limited.asked.length, asked, 'the registry was not asked');
    await dray(['cancel', id], { env: fleet.env });
  });

  test('down: a digest of the same repository comes from the store, not what another one has', async () => {
    const gone = await startRegistry();
    const image = await pushImage(gone.host, 'gone', 'v1', [await tarOf([{ name: 'gone' }])]);
    assert.equal((await pull({ reference: image.reference })).state, 'ready');
    await gone.stop();
    const byDigest = await pull({ reference: `${gone.host}/gone@${image.digest}` });
    assert.equal(byDigest.state, 'ready', JSON.stringify(byDigest.error));
    const missing = await pull({ reference: image.reference, policy: 'missing' });
    assert.equal(missing.state, 'ready', JSON.stringify(missing.error));
    const id = await fleet.pull({ reference: `${gone.host}/other@${image.digest}`, nodes: [] });
    for await (const { note } of fleet.pulls.watch(id, { signal: AbortSignal.timeout(60_000) })) {
      if (note === undefined) continue;
      assert.match(note, /ECONNREFUSED/);
      break;
    }
    await dray(['cancel', id], { env: fleet.env });
    const wrong = await dray(['pull', '--pull', 'sometimes', image.reference], { env: fleet.env });
    assert.equal(wrong.code, 2, wrong.stderr);
  });
});
