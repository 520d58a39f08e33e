import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { openStore } from '../../shared/content/open.ts';
import { digestOf } from '../../shared/image/digest.ts';
import { dray } from '../producer/cli/dray.ts';
import { startFleet } from '../support/fleet.ts';
import { pushImage, randomLayer, tarOf } from '../support/push.ts';
import { radosgwTools, startRadosgw, type TestRadosgw } from '../support/radosgw.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { isInstalled, requireRoot, requireTool } from '../support/requirements.ts';
import { startSlowLink } from '../support/slow-link.ts';

const partSize = 8 * 1024 * 1024;

const tools = ['docker-registry', 'redis-server', ...radosgwTools];

describe('a fleet whose content store is a bucket', () => {
  let gateway: TestRadosgw;
  let registry: TestRegistry;

  before(async () => {
    // Each test says what is missing.
    if (process.getuid?.() !== 0 || !tools.every(isInstalled)) return;
    [gateway, registry] = await Promise.all([startRadosgw(), startRegistry()]);
  });
  after(async () => {
    await registry?.stop();
    await gateway?.stop();
  });

  test('a worker that is killed in mid-blob costs at most a part; both nodes get the image', async (t) => {
    if (!requireRoot(t) || !requireTool(t, ...tools)) return;
    const bucket = await gateway.createBucket();
    await using link = await startSlowLink(registry.host, { bytesPerSecond: 12_000_000 });
    await using fleet = await startFleet({ env: gateway.storeEnv(bucket) });
    const content = randomBytes(40_000_000);
    const tar = await tarOf([{ name: 'large', content }]);
    const image = await pushImage(registry.host, 'large', 'v1', [tar], { compression: 'none' });
    const [layer] = image.layers;
    assert.ok(layer);

    const first = await fleet.startWorker('w1');
    await Promise.all([fleet.startAgent('n1'), fleet.startAgent('n2')]);
    // What the registry sends before the kill, however long it takes until the bytes are seen.
    link.stopAfter(3 * partSize);
    const id = await fleet.pull({
      reference: `${link.host}/large:v1`,
      nodes: ['n1', 'n2'],
    });
    for await (const status of fleet.pulls.watch(id)) {
      assert.notEqual(status.state, 'ready', 'the pull ended before the kill');
      if (status.blobs.some((b) => b.kind === 'layer' && b.bytes > 2.5 * partSize)) break;
    }
    await first.kill();
    link.setRate(12_000_000);
    await fleet.startWorker('w2');
    const status = await fleet.ended(id, 120_000);
    assert.equal(status.state, 'ready', JSON.stringify(status.error ?? status.nodes));

    const log = await registry.accessLog();
    const sent = log.filter(({ method, path }) => method === 'GET' && path.includes(layer.digest));
    assert.equal(sent.length, 2, 'one fetch, and one that went on where it had stopped');
    assert.equal(sent.at(-1)?.status, 206);
    const again = (sent.at(-1)?.bytes ?? 0) - (layer.size - 2 * partSize);
    assert.ok(again <= partSize, `${again} bytes were fetched again`);

    // A bucket's environment is what the store reads its credentials from.
    Object.assign(process.env, {
      AWS_ACCESS_KEY_ID: gateway.accessKey,
      AWS_SECRET_ACCESS_KEY: gateway.secretKey,
    });
    await using store = await openStore(fleet.config.store);
    const chunks: Uint8Array[] = [];
    for await (const chunk of store.content.read(layer.digest)) chunks.push(chunk);
    assert.equal(digestOf(Buffer.concat(chunks)), layer.digest);

    const examined = await dray(['doctor', '--no-node', '-o', 'json'], { env: fleet.env });
    const results = JSON.parse(examined.stdout) as { name: string; state: string }[];
    const states = new Map(results.map(({ name, state }) => [name, state]));
    assert.deepEqual([states.get('store'), states.get('store conditions')], ['ok', 'ok']);
  });

  test('a bucket that is away for a while: people are told, the bytes are kept, and the registry sends nothing twice', async (t) => {
    if (!requireRoot(t) || !requireTool(t, ...tools)) return;
    const bucket = await gateway.createBucket();
    await using link = await startSlowLink(registry.host, { bytesPerSecond: 8_000_000 });
    await using fleet = await startFleet({ env: gateway.storeEnv(bucket) });
    const tar = await randomLayer(40_000_000, 'large');
    const image = await pushImage(registry.host, 'away', 'v1', [tar], { compression: 'none' });
    const [layer] = image.layers;
    assert.ok(layer);
    await fleet.startWorker('w1');
    link.stopAfter(2 * partSize);
    const id = await fleet.pull({ reference: `${link.host}/away:v1`, nodes: [] });
    for await (const status of fleet.pulls.watch(id)) {
      assert.notEqual(status.state, 'ready', 'the pull ended before the bucket went away');
      if (status.blobs.some((b) => b.kind === 'layer' && b.bytes > 1.5 * partSize)) break;
    }
    await gateway.stopGateway();
    link.setRate(8_000_000);
    for await (const { note } of fleet.pulls.watch(id)) {
      if (note !== undefined && /^waiting: bucket .* failed/.test(note)) break;
    }
    await gateway.startGateway();
    const status = await fleet.ended(id, 120_000);
    assert.equal(status.state, 'ready', JSON.stringify(status));
    assert.equal(status.note, undefined);
    const sent = (await registry.accessLog()).filter(
      ({ method, path }) => method === 'GET' && path.includes(layer.digest),
    );
    assert.deepEqual(
      sent.map(({ status, bytes }) => [status, bytes]),
      [[200, layer.size]],
    );
  });
});
