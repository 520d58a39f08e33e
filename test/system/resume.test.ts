import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { openStore } from '../../shared/content/open.ts';
import { digestOf } from '../../shared/image/digest.ts';
import { startFleet } from '../support/fleet.ts';
import { pushImage, randomLayer } from '../support/push.ts';
import { radosgwTools, startRadosgw } from '../support/radosgw.ts';
import { startRegistry } from '../support/registry.ts';
import { requireTool } from '../support/requirements.ts';
import { startSlowLink } from '../support/slow-link.ts';

const partSize = 8 << 20;
/** Headers, manifests, and what a connection had in its buffers when it broke. */
const besides = 2 << 20;

/** Kills the worker with SIGKILL in the middle of a blob, lets another one finish, and says how many bytes came twice. */
async function fetchedTwice(
  t: TestContext,
  options: { bytes: number; killAt: number; bytesPerSecond: number; env?: NodeJS.ProcessEnv },
): Promise<{ again: number; requests: number }> {
  const registry = await startRegistry();
  t.after(() => registry.stop());
  await using link = await startSlowLink(registry.host, options);
  await using fleet = await startFleet(options.env === undefined ? {} : { env: options.env });
  const tar = await randomLayer(options.bytes, 'large');
  const image = await pushImage(registry.host, 'large', 'v1', [tar], { compression: 'none' });
  const [layer] = image.layers;
  assert.ok(layer);
  const first = await fleet.startWorker('w1');
  const id = await fleet.pull({ reference: `${link.host}/large:v1`, nodes: [] });
  for await (const status of fleet.pulls.watch(id)) {
    assert.notEqual(status.state, 'ready', 'the pull ended before the kill');
    if (status.blobs.some((b) => b.kind === 'layer' && b.bytes > options.killAt)) break;
  }
  await first.kill();
  await fleet.startWorker('w2');
  const status = await fleet.ended(id, 120_000);
  assert.equal(status.state, 'ready', JSON.stringify(status.error));
  await using store = await openStore(fleet.config.store);
  const chunks: Uint8Array[] = [];
  for await (const chunk of store.content.read(layer.digest)) chunks.push(chunk);
  assert.equal(digestOf(Buffer.concat(chunks)), layer.digest);
  const log = await registry.accessLog();
  const requests = log.filter(
    ({ method, path }) => method === 'GET' && path.includes(layer.digest),
  );
  const again = link.passed() - layer.size;
  t.diagnostic(`${(again / 2 ** 20).toFixed(1)} MiB came twice, in ${requests.length} requests`);
  return { again, requests: requests.length };
}

describe('kill -9 of a worker in the middle of a large blob', () => {
  test('a folder: the next one goes on with what is in the file', {
    timeout: 180_000,
  }, async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server')) return;
    const { again, requests } = await fetchedTwice(t, {
      ...{ bytes: 30_000_000, killAt: 20_000_000, bytesPerSecond: 8_000_000 },
    });
    assert.ok(again <= partSize, `${again} bytes came twice`);
    assert.equal(requests, 2);
  });

  test('a folder, a blob that comes in parts', { timeout: 180_000 }, async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server')) return;
    const { again, requests } = await fetchedTwice(t, {
      ...{ bytes: 100_000_000, killAt: 60_000_000, bytesPerSecond: 10_000_000 },
    });
    assert.ok(again <= partSize + besides, `${again} bytes came twice`);
    assert.ok(requests > 10, `${requests} requests`);
  });

  test('a bucket: the next one goes on after the parts in it', { timeout: 180_000 }, async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server', ...radosgwTools)) return;
    await using gateway = await startRadosgw();
    const bucket = await gateway.createBucket();
    const env = {
      DRAY_STORE: `s3://${bucket}/dray`,
      AWS_ENDPOINT_URL_S3: gateway.endpoint,
      AWS_ACCESS_KEY_ID: gateway.accessKey,
      AWS_SECRET_ACCESS_KEY: gateway.secretKey,
      AWS_REGION: 'us-east-1',
    };
    Object.assign(process.env, env);
    const { again, requests } = await fetchedTwice(t, {
      ...{ bytes: 30_000_000, killAt: 20_000_000, bytesPerSecond: 6_000_000, env },
    });
    assert.ok(again <= partSize + besides, `${again} bytes came twice`);
    assert.equal(requests, 2);
  });
});
