import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { DrayageClient, type FailedJob } from '../../../producer/client/client.ts';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { pushImage, randomLayer } from '../../support/push.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { until } from '../../support/until.ts';
import { startApi, type TestApi } from './support.ts';

describe('what the API shows and changes beside pulls', () => {
  let registry: TestRegistry;
  let fleet: TestFleet;
  let api: TestApi;
  let client: DrayageClient;
  let reference: string;

  before(async () => {
    registry = await startRegistry();
    fleet = await startFleet();
    await fleet.startWorker('w1');
    api = await startApi(fleet.env);
    client = new DrayageClient({ url: api.url });
    const tar = await randomLayer(100_000);
    await pushImage(registry.host, 'nouns', 'v1', [tar], { compression: 'none' });
    reference = `${registry.host}/nouns:v1`;
    const { id } = await client.pull({ reference });
    assert.equal((await fleet.ended(id)).state, 'ready');
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
  });

  async function failedPull(): Promise<string> {
    const { id } = await client.pull({ reference: `${registry.host}/missing:v1` });
    assert.equal((await fleet.ended(id)).state, 'failed');
    return id;
  }
  /** A pull has failed a moment before its job has. */
  async function failedJobs(count: number): Promise<FailedJob[]> {
    return await until(`${count} failed jobs`, async () => {
      const jobs = await Array.fromAsync(client.listFailedJobs('resolve'));
      return jobs.length === count && jobs;
    });
  }

  test('a list of pulls says how much of each is done', async () => {
    const whole = await client.getPull((await client.listPulls()).items[0]?.id ?? '');
    const [summary] = (await client.listPulls()).items;
    const size = whole.blobs.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
    const total = whole.blobs.length;
    assert.deepEqual(summary?.blobs, { total, stored: total, bytes: size, size });
    assert.deepEqual(summary?.nodes, {
      total: 0,
      waiting: 0,
      unpacking: 0,
      ready: 0,
      failed: 0,
      stopped: 0,
    });
    assert.equal(summary?.target?.digest, whole.target?.digest);
    assert.deepEqual((await client.listPulls({ state: 'open' })).items, []);
  });

  test('an image has its size, gets another name, and loses it', async () => {
    const name = 'registry.local/blessed:1';
    const given = await client.nameImage(reference, name);
    assert.equal(given.name, name);
    const images = await Array.fromAsync(client.listImages());
    assert.deepEqual(images.map((image) => image.name).sort(), [reference, name].sort());
    const blobs = await Array.fromAsync(client.listContent());
    const stored = blobs.reduce((sum, { size }) => sum + size, 0);
    for (const { size } of images) assert.equal(size, stored);
    const page = (await api.call('GET', '/v1/images?limit=1')).json;
    assert.equal((page.items as unknown[]).length, 1);
    const rest = await api.call('GET', `/v1/images?limit=1&cursor=${page.next}`);
    assert.deepEqual([(rest.json.items as unknown[]).length, rest.json.next], [1, undefined]);
    await client.removeImage(name);
    await assert.rejects(client.removeImage(name), { code: 'NOT_FOUND' });
    const gone = await api.call('GET', `/v1/images?name=${name}`);
    assert.deepEqual(gone.json.items, []);
    await assert.rejects(client.nameImage('registry.local/none:1', name), { code: 'NOT_FOUND' });
  });

  test('blobs are listed by digest, page by page, and read', async () => {
    const blobs = await Array.fromAsync(client.listContent());
    assert.deepEqual(
      blobs,
      blobs.toSorted((a, b) => (a.digest < b.digest ? -1 : 1)),
    );
    const paged: unknown[] = [];
    for (let query = '?limit=1'; query !== ''; ) {
      const { json } = await api.call('GET', `/v1/content${query}`);
      paged.push(...(json.items as unknown[]));
      query = json.next === undefined ? '' : `?limit=1&cursor=${json.next}`;
    }
    assert.deepEqual(paged, blobs);
    for (const { digest, size } of blobs) {
      const hash = createHash('sha256');
      let read = 0;
      for await (const chunk of await client.getBlob(digest)) {
        hash.update(chunk);
        read += chunk.length;
      }
      assert.deepEqual([`sha256:${hash.digest('hex')}`, read], [digest, size]);
    }
    const [{ digest } = { digest: '' }] = blobs;
    assert.equal((await api.call('GET', `/v1/content/${digest}`)).json.digest, digest);
    const none = `sha256:${'0'.repeat(64)}`;
    await assert.rejects(client.getBlob(none), { code: 'NOT_FOUND' });
    assert.equal((await api.call('DELETE', `/v1/content/${none}`)).status, 404);
    assert.equal((await api.call('GET', '/v1/content/..%2F..%2Fetc%2Fpasswd/bytes')).status, 400);
    assert.deepEqual((await api.call('GET', '/v1/ingests')).json.items, []);
  });

  test('a node says what it holds', async () => {
    await fleet.startAgent('n1');
    assert.deepEqual(await client.listNodeImages('n1'), []);
    const { id } = await client.pull({ reference, nodes: ['n1'] });
    assert.equal((await fleet.ended(id)).state, 'ready');
    const [summary] = (await client.listPulls()).items;
    assert.deepEqual([summary?.nodes.total, summary?.nodes.ready], [1, 1]);
    const digest = summary?.target?.digest;
    const [image] = await Array.fromAsync(client.listImages());
    await until('what the node holds', async () => (await client.listNodeImages('n1')).length > 0);
    const held = [{ name: reference, digest, size: image?.size }];
    assert.deepEqual(await client.listNodeImages('n1'), held);
    await until('its disk', async () => (await client.listNodes())[0]?.images === 1);
    const [node] = await client.listNodes();
    assert.equal(node?.state, 'ready');
    assert.equal(node?.disk?.snapshots, 1);
    assert.ok((node?.disk?.bytes ?? 0) > 100_000 && (node?.disk?.diskFree ?? 0) > 0);
    const queue = (await client.listQueues()).find(({ name }) => name === 'unpack@n1');
    assert.equal(queue?.workers, 1);
    await assert.rejects(client.listNodeImages('n2'), { code: 'NOT_FOUND' });
  });

  test('a failed job is shown with its reason; retried, its pull is pulled anew', async () => {
    const id = await failedPull();
    const [job] = await failedJobs(1);
    assert.equal(job?.pull, id);
    assert.match(job?.reason ?? '', /missing/);
    assert.notEqual(job?.code, 'INTERNAL');
    const tar = await randomLayer(10);
    await pushImage(registry.host, 'missing', 'v1', [tar]);
    const [pulled, ...more] = await client.retryJob('resolve', job?.id ?? '');
    assert.ok(pulled !== undefined && pulled !== id && more.length === 0);
    assert.equal((await fleet.ended(pulled)).state, 'ready');
    assert.deepEqual(await failedJobs(0), []);
    await assert.rejects(client.retryJob('resolve', job?.id ?? ''), { code: 'NOT_FOUND' });
    assert.equal((await client.retryPull(id)).id, pulled, 'it was pulled anew already');
    await assert.rejects(client.retryPull(pulled), { code: 'CONFLICT' });
    assert.equal((await api.call('GET', `/v1/content`)).status, 200);
  });

  test('a failed job is removed; the latest stands first; a queue counts what ended', async () => {
    const missing = (n: number) => client.pull({ reference: `${registry.host}/none:${n}` });
    for (const n of [1, 2, 3]) await fleet.ended((await missing(n)).id);
    const jobs = await failedJobs(3);
    assert.equal(jobs.length, 3);
    const times = jobs.map(({ failedAt }) => failedAt);
    assert.deepEqual(times, times.toSorted().reverse());
    const path = '/v1/queues/resolve/failed?limit=2';
    const page = (await api.call('GET', path)).json;
    const rest = (await api.call('GET', `${path}&cursor=${page.next}`)).json;
    assert.deepEqual([...(page.items as unknown[]), ...(rest.items as unknown[])], jobs);
    for (const { id } of jobs) await client.removeJob('resolve', id);
    assert.deepEqual(await failedJobs(0), []);
    const sum = (counts: number[] = []) => counts.reduce((all, each) => all + each, 0);
    // A look at the queues is shared by all who ask within a second.
    const rate = await until('that what ended is counted', async () => {
      const resolve = (await client.listQueues()).find(({ name }) => name === 'resolve');
      return sum(resolve?.rate.failed) >= 4 && resolve?.rate;
    });
    assert.equal(rate.completed.length, 60);
    assert.ok(sum(rate.completed) >= 2, JSON.stringify(rate));
    for (const name of ['nowhere', 'unpack@..%2F', 'resolve:failed']) {
      assert.equal((await api.call('GET', `/v1/queues/${name}/failed`)).status, 400);
    }
  });
});
