import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Bucket } from '../../shared/content/s3/bucket.ts';
import { Keys } from '../../shared/content/s3/keys.ts';
import { openS3Store } from '../../shared/content/s3/store.ts';
import { toArray } from '../shared/content/sample.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import { faultsByChance, type HostileS3, startHostileS3 } from '../support/hostile-s3.ts';
import { type BuiltImage, pushImage, randomLayer, tarOf } from '../support/push.ts';
import { radosgwTools, startRadosgw, type TestRadosgw } from '../support/radosgw.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';

const MiB = 1 << 20;
const tools = ['docker-registry', 'redis-server', ...radosgwTools];
const seed = Number(process.env.FAULT_SEED ?? 7);

describe('a content store on an S3 that fails', () => {
  let gateway: TestRadosgw;
  let proxy: HostileS3;
  let registry: TestRegistry;
  let fleet: TestFleet;
  let place: { bucket: string; prefix: string; endpoint: string; forcePathStyle: true };
  const images: BuiltImage[] = [];

  before(async () => {
    if (process.getuid?.() !== 0) return;
    gateway = await startRadosgw();
    proxy = await startHostileS3(gateway.endpoint);
    registry = await startRegistry();
    const bucket = await gateway.createBucket();
    const credentials = {
      AWS_ACCESS_KEY_ID: gateway.accessKey,
      AWS_SECRET_ACCESS_KEY: gateway.secretKey,
    };
    Object.assign(process.env, credentials);
    place = { bucket, prefix: 'dray/', endpoint: gateway.endpoint, forcePathStyle: true };
    fleet = await startFleet({
      env: {
        ...credentials,
        DRAY_STORE: `s3://${bucket}/dray`,
        AWS_ENDPOINT_URL_S3: proxy.endpoint,
        AWS_REGION: 'us-east-1',
      },
    });
    const base = await randomLayer(11 * MiB, 'base');
    for (let i = 0; i < 6; i++) {
      const own = await randomLayer((i + 1) * 3 * MiB, `own-${i}`);
      const small = await tarOf([{ name: `small-${i}`, content: `${i}` }]);
      images.push(
        await pushImage(registry.host, `faults-${i}`, 'v1', [base, own, small], {
          compression: 'none',
        }),
      );
    }
    await Promise.all([fleet.startWorker('w1'), fleet.startWorker('w2')]);
    await Promise.all(['n1', 'n2', 'n3'].map((node) => fleet.startAgent(node)));
  });
  after(async () => {
    await fleet?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await registry?.stop();
    await gateway?.stop();
  });

  async function expectReady(reference: string, nodes: string[]): Promise<void> {
    const status = await fleet.ended(await fleet.pull({ reference, nodes }), 180_000);
    assert.equal(status.state, 'ready', JSON.stringify(status.error ?? status.nodes));
  }

  test('5 % errors, slow and torn answers: every pull gets ready, and no object is wrong', async (t) => {
    if (!requireRoot(t) || !requireTool(t, ...tools)) return;
    t.diagnostic(`seed ${seed}`);
    proxy.decide = faultsByChance(seed, 0.05);
    await Promise.all(images.map(({ reference }) => expectReady(reference, ['n1', 'n2'])));
    proxy.decide = () => undefined;
    t.diagnostic(`${proxy.requests.length} requests, faults: ${JSON.stringify([...proxy.faults])}`);
    assert.ok(proxy.faults.size >= 6, 'faults of most kinds were met');
    await using store = await openS3Store(place);
    const blobs = await toArray(store.content.list());
    const expected = new Set(
      images.flatMap(({ digest, config, layers }) => [
        digest,
        config.digest,
        ...layers.map((layer) => layer.digest),
      ]),
    );
    assert.deepEqual(new Set(blobs.map(({ digest }) => digest)), expected);
    for (const { digest } of blobs) assert.equal(await store.content.verify(digest), 'right');
    assert.equal((await store.images.list()).length, images.length);
  });

  test('wrong and missing objects are found by the node that reads them, and fetched again', async (t) => {
    if (!requireRoot(t) || !requireTool(t, ...tools)) return;
    const [first, second, third] = images;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    const bucket = new Bucket(place);
    t.after(() => bucket.close());
    const keys = new Keys(place.prefix);
    const [, own] = first.layers;
    const [, other] = second.layers;
    assert.ok(own !== undefined && other !== undefined);
    // One of the right size, one that is too short, a manifest and a config; and one that is gone.
    await bucket.put(keys.blob(own.digest), randomBytes(own.size), {});
    await bucket.put(keys.blob(other.digest), randomBytes(1000), {});
    await bucket.put(keys.blob(second.digest), randomBytes(second.manifest.length), {});
    await bucket.put(keys.blob(third.config.digest), randomBytes(third.config.size), {});
    await bucket.remove(keys.blob(third.layers[2]?.digest ?? own.digest), {});
    await Promise.all(
      [first, second, third].map(({ reference }) => expectReady(reference, ['n3'])),
    );
    await using store = await openS3Store(place);
    for (const { digest } of await toArray(store.content.list())) {
      assert.equal(await store.content.verify(digest), 'right');
    }
    const aside = await store.content.sweep({ olderThanMs: -5_000, dryRun: true });
    // Two that find the same at once may each keep a copy.
    assert.deepEqual(
      new Set(aside.filter(({ kind }) => kind === 'set aside').map(({ name }) => name)),
      new Set([own.digest, other.digest, second.digest, third.config.digest]),
    );
  });
});
