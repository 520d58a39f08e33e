import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PullRecords } from '../../shared/pull/records.ts';
import type { PullStatus } from '../../shared/pull/status.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import { pushImage, randomLayer } from '../support/push.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { type SlowLink, startSlowLink } from '../support/slow-link.ts';
import { until } from '../support/until.ts';

/** At the link's rate the blob takes 30 s. */
const blobBytes = 6_000_000;
const rate = 200_000;

describe('cancelling a pull', () => {
  let registry: TestRegistry;
  let link: SlowLink;
  let fleet: TestFleet;
  let records: PullRecords;

  before(async () => {
    registry = await startRegistry();
    link = await startSlowLink(registry.host, { bytesPerSecond: rate });
    fleet = await startFleet();
    records = new PullRecords(fleet.redis, fleet.config.redis.prefix);
    await Promise.all([fleet.startWorker('w1'), fleet.startAgent('n1')]);
  });
  after(async () => {
    await fleet[Symbol.asyncDispose]();
    await link[Symbol.asyncDispose]();
    await registry.stop();
  });

  async function push(repository: string) {
    const tar = await randomLayer(blobBytes);
    return await pushImage(registry.host, repository, 'v1', [tar], { compression: 'none' });
  }

  async function untilPull(id: string, when: (status: PullStatus) => boolean): Promise<void> {
    for await (const status of fleet.pulls.watch(id)) if (when(status)) return;
    assert.fail('the pull ended before');
  }

  const isMoving = ({ blobs }: PullStatus) =>
    blobs.some(({ kind, bytes }) => kind === 'layer' && bytes > 100_000);

  test('stops the transfer and the unpacking; another pull gets the blob whole', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
    const image = await push('stopped');
    const request = { reference: `${link.host}/stopped:v1`, nodes: ['n1'] };
    const id = await fleet.pull(request);
    await untilPull(id, isMoving);
    assert.equal(await records.cancel(id), 'cancelled');
    assert.equal((await fleet.ended(id)).state, 'cancelled');
    await until('that no more bytes come', async () => {
      const moved = link.passed();
      await sleep(1_000);
      return link.passed() - moved < rate / 10;
    });
    const snapshots = path.join(fleet.nodeRoot('n1'), 'snapshots');
    await until('that nothing is left of it', async () => (await readdir(snapshots)).length === 0);
    assert.equal(await records.cancel(id), 'cancelled', 'once more changes nothing');

    link.setRate(100_000_000);
    const again = await fleet.ended(await fleet.pull(request));
    link.setRate(rate);
    assert.equal(again.state, 'ready', JSON.stringify(again.error));
    assert.equal(again.target?.digest, image.digest);
    assert.equal(await records.cancel(again.id), 'ready', 'what has ended stays as it ended');
  });

  test('leaves alone what another pull waits for too', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
    await push('shared');
    const request = { reference: `${link.host}/shared:v1`, nodes: [] };
    const [first, second] = [await fleet.pull(request), await fleet.pull(request)];
    await untilPull(second, isMoving);
    await records.cancel(first);
    await sleep(1_500);
    link.setRate(100_000_000);
    assert.equal((await fleet.ended(second)).state, 'ready');
    link.setRate(rate);
    assert.equal((await fleet.ended(first)).state, 'cancelled');
  });

  test('reaches a pull that is still queued, and one that resolves', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'redis-server')) return;
    await push('slow');
    link.setRate(0);
    const id = await fleet.pull({ reference: `${link.host}/slow:v1`, nodes: ['n1'] });
    await untilPull(id, ({ state }) => state === 'resolving');
    await records.cancel(id);
    assert.equal((await fleet.ended(id, 20_000)).state, 'cancelled');
    link.setRate(100_000_000);
    await sleep(1_500);
    assert.equal((await fleet.pulls.get(id))?.state, 'cancelled');
    assert.equal((await fleet.pulls.get(id))?.blobs.length, 0);
    assert.equal(await records.cancel('0000000000'), undefined);
  });
});
