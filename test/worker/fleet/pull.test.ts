import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { openStore } from '../../../shared/content/open.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import { mediaTypes } from '../../../shared/image/descriptor.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import { parsePlatform } from '../../../shared/image/platform.ts';
import type { PullStatus } from '../../../shared/pull/status.ts';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { type HostileRegistry, startHostileRegistry } from '../../support/hostile-registry.ts';
import { pushBlob, pushImage, pushManifest, tarOf } from '../../support/push.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';

const gzipLayer = 'application/vnd.oci.image.layer.v1.tar+gzip';

describe('pulling into the store', () => {
  let registry: TestRegistry;
  let fleet: TestFleet;

  before(async () => {
    registry = await startRegistry();
    fleet = await startFleet();
    await fleet.startWorker('w1');
  });
  after(async () => {
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
  });

  async function pull(reference: string, platform?: string): Promise<PullStatus> {
    const id = await fleet.pull({
      reference,
      nodes: [],
      ...(platform === undefined ? {} : { platform }),
    });
    return await fleet.ended(id);
  }

  async function downloads(digest: string): Promise<number> {
    const log = await registry.accessLog();
    return log.filter(
      ({ method, path, status }) => method === 'GET' && path.includes(digest) && status === 200,
    ).length;
  }

  const layer = async (content: Buffer | string) => await tarOf([{ name: 'file', content }]);

  async function pushOdd(repository: string, document: object): Promise<Buffer> {
    const bytes = Buffer.from(JSON.stringify(document));
    await pushManifest(registry.host, repository, 'latest', bytes, mediaTypes.ociManifest);
    return bytes;
  }

  test('one image has its name once all of its content is in the store', async () => {
    const image = await pushImage(registry.host, 'one', 'v1', [await layer(randomBytes(100_000))]);
    const status = await pull(image.reference);
    assert.equal(status.state, 'ready', JSON.stringify(status.error));
    await using store = await openStore(fleet.config.store);
    const record = await store.images.get(image.reference);
    assert.equal(record?.target.digest, image.digest);
    for (const { digest, size } of [...image.layers, image.config]) {
      assert.equal((await store.content.info(digest))?.size, size);
    }
  });

  test('twenty pulls at once fetch each blob once', async () => {
    const tars = await Promise.all([1, 2, 3].map(() => layer(randomBytes(500_000))));
    const image = await pushImage(registry.host, 'twenty', 'v1', tars);
    const ids = await Promise.all(
      Array.from({ length: 20 }, () => fleet.pull({ reference: image.reference, nodes: [] })),
    );
    for (const id of ids) assert.equal((await fleet.ended(id)).state, 'ready');
    for (const { digest } of [...image.layers, image.config]) {
      assert.equal(await downloads(digest), 1);
    }
  });

  test('33: the same layer twice in one manifest is fetched once', async () => {
    const tar = await layer(randomBytes(50_000));
    const image = await pushImage(registry.host, 'twice', 'v1', [tar, tar]);
    const status = await pull(image.reference);
    assert.equal(status.state, 'ready', JSON.stringify(status.error));
    assert.equal(await downloads(image.layers[0]?.digest ?? ''), 1);
  });

  test('34: an image without layers is accepted', async () => {
    const image = await pushImage(registry.host, 'none', 'v1', []);
    assert.equal((await pull(image.reference)).state, 'ready');
  });

  test('26: indexes inside indexes are followed, in a circle or too deep they fail', async () => {
    const image = await pushImage(registry.host, 'nested', 'inner', [await layer('x')]);
    const platform = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };
    let below: Descriptor = {
      mediaType: mediaTypes.ociManifest,
      digest: image.digest,
      size: image.manifest.length,
    };
    for (let depth = 1; depth <= 6; depth++) {
      const bytes = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: mediaTypes.ociIndex,
          manifests: [{ ...below, platform }],
        }),
      );
      await pushManifest(registry.host, 'nested', `d${depth}`, bytes, mediaTypes.ociIndex);
      below = { mediaType: mediaTypes.ociIndex, digest: digestOf(bytes), size: bytes.length };
    }
    assert.equal((await pull(`${registry.host}/nested:d2`)).state, 'ready');
    const deep = await pull(`${registry.host}/nested:d6`);
    assert.equal(deep.error?.code, 'MANIFEST_INVALID');
    assert.match(deep.error?.message ?? '', /indexes inside indexes/);
  });

  test('26: an index of too many manifests fails before any of them is asked for', async () => {
    const image = await pushImage(registry.host, 'many', 'one', [await layer('x')]);
    const one = {
      ...{ mediaType: mediaTypes.ociManifest, digest: image.digest, size: image.manifest.length },
    };
    const manifests = Array.from({ length: 1_001 }, (_, n) => ({
      ...one,
      platform: { os: 'linux', architecture: `a${n}` },
    }));
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }));
    await pushManifest(registry.host, 'many', 'latest', index, mediaTypes.ociIndex);
    const status = await pull(`${registry.host}/many:latest`, 'all');
    assert.equal(status.error?.code, 'MANIFEST_INVALID');
    assert.match(status.error?.message ?? '', /more than 1000 manifests/);
    const log = await registry.accessLog();
    const read = log.filter((e) => e.method === 'GET' && e.path.startsWith('/v2/many/'));
    assert.deepEqual(
      read.map(({ path }) => path),
      ['/v2/many/manifests/latest'],
    );
  });

  test('a tag that is what the store has costs a HEAD; one that moved is read', async () => {
    const first = await pushImage(registry.host, 'again', 'v1', [await layer('1')]);
    const asked = async () =>
      (await registry.accessLog())
        .filter(({ method, path }) => path.startsWith('/v2/again/') && /GET|HEAD/.test(method))
        .map(({ method, path }) => `${method} ${path.replace('/v2/again/', '')}`);
    await pull(first.reference);
    const before = (await asked()).length;
    const status = await pull(first.reference);
    assert.equal(status.target?.digest, first.digest);
    assert.equal(status.askedAt, undefined);
    assert.deepEqual((await asked()).slice(before), ['HEAD manifests/v1']);
    const second = await pushImage(registry.host, 'again', 'v1', [await layer('2')]);
    const moved = await pull(first.reference);
    assert.equal(moved.target?.digest, second.digest);
    assert.equal(moved.state, 'ready', JSON.stringify(moved.error));
  });

  test('27: a missing platform fails with the platforms that there are', async () => {
    const image = await pushImage(registry.host, 'platform', 'v1', [await layer('x')]);
    const status = await pull(image.reference, 'linux/s390x');
    assert.equal(status.error?.code, 'PLATFORM_UNKNOWN');
    assert.match(status.error?.hint ?? '', /--platform linux\//);
  });

  test('36: an embedded data field that lies is ignored', async () => {
    const image = await pushImage(registry.host, 'data', 'v1', [await layer('true')]);
    const lying = { ...image.config, data: Buffer.from('{"lie":true}').toString('base64') };
    await pushOdd('data', {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: lying,
      layers: image.layers,
    });
    assert.equal((await pull(`${registry.host}/data:latest`)).state, 'ready');
  });

  test('79: more layers than diffIDs fail before any layer is fetched', async () => {
    const image = await pushImage(registry.host, 'diffids', 'v1', [await layer('a')]);
    const extra = await pushBlob(registry.host, 'diffids', randomBytes(1_000), gzipLayer);
    await pushOdd('diffids', {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: image.config,
      layers: [...image.layers, extra],
    });
    const status = await pull(`${registry.host}/diffids:latest`);
    assert.equal(status.error?.code, 'CONFIG_INVALID');
    assert.equal(await downloads(extra.digest), 0);
  });

  test('37: a tag that moves during a pull does not move the pull', async () => {
    const first = await pushImage(registry.host, 'moving', 'v1', [await layer('1')]);
    const id = await fleet.pull({ reference: first.reference, nodes: [] });
    for await (const status of fleet.pulls.watch(id)) if (status.target !== undefined) break;
    await pushImage(registry.host, 'moving', 'v1', [await layer('2')]);
    const status = await fleet.ended(id);
    assert.equal(status.target?.digest, first.digest);
    assert.equal(status.state, 'ready');
  });

  /** An image of one layer on a registry that answers as the test says. */
  async function hostileImage(
    hostile: HostileRegistry,
    layer: Descriptor & { urls?: string[] },
  ): Promise<string> {
    const platform = parsePlatform(`linux/${process.arch === 'x64' ? 'amd64' : process.arch}`);
    const config = Buffer.from(
      JSON.stringify({ ...platform, rootfs: { type: 'layers', diff_ids: [layer.digest] } }),
    );
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: { mediaType: mediaTypes.ociConfig, digest: digestOf(config), size: config.length },
        layers: [layer],
      }),
    );
    hostile.serve('/v2/image/manifests/latest', manifest, {
      'content-type': mediaTypes.ociManifest,
    });
    hostile.serve(`/v2/image/blobs/${digestOf(config)}`, config);
    return `${hostile.host}/image:latest`;
  }

  test('28: a foreign layer that the registry does not have fails the pull; its urls are never fetched', async () => {
    await using hostile = await startHostileRegistry();
    await using elsewhere = await startHostileRegistry();
    const reference = await hostileImage(hostile, {
      mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
      digest: digestOf('lost'),
      size: 4,
      urls: [`${elsewhere.origin}/lost`],
    });
    const status = await pull(reference);
    assert.equal(status.state, 'failed');
    assert.equal(status.error?.code, 'BLOB_UNKNOWN');
    assert.deepEqual(elsewhere.requests, []);
    await using store = await openStore(fleet.config.store);
    assert.equal(await store.images.get(reference), undefined);
  });

  test('1: a blob with wrong bytes is fetched once more, then the pull fails, and it is never readable', async () => {
    await using hostile = await startHostileRegistry();
    const right = randomBytes(300_000);
    const digest = digestOf(right);
    const reference = await hostileImage(hostile, { mediaType: gzipLayer, digest, size: 300_000 });
    hostile.serve(`/v2/image/blobs/${digest}`, randomBytes(300_000));
    const status = await pull(reference);
    assert.equal(status.error?.code, 'DIGEST_MISMATCH');
    assert.match(status.error?.message ?? '', new RegExp(digest));
    const asked = hostile.requests.filter(({ path }) => path.includes(digest));
    assert.equal(asked.length, 2);
    await using store = await openStore(fleet.config.store);
    assert.equal(await store.content.info(digest), undefined);
    assert.deepEqual(await Array.fromAsync(store.content.ingests()), []);
  });

  test('3: a blob that ends before its size, again and again, fails the pull', async () => {
    await using hostile = await startHostileRegistry();
    const right = randomBytes(300_000);
    const digest = digestOf(right);
    const reference = await hostileImage(hostile, { mediaType: gzipLayer, digest, size: 300_000 });
    hostile.on(`/v2/image/blobs/${digest}`, (request, response) => {
      if (request.headers.range !== undefined) response.writeHead(416).end();
      // In chunks, so that nobody says before how many there are.
      else response.writeHead(200).end(right.subarray(0, 200_000));
    });
    const status = await pull(reference);
    assert.equal(status.error?.code, 'SIZE_MISMATCH');
    await using store = await openStore(fleet.config.store);
    assert.equal(await store.content.info(digest), undefined);
  });

  test('a single object is fetched by its digest, without a name', async () => {
    const blob = await pushBlob(registry.host, 'objects', randomBytes(5_000), gzipLayer);
    const reference = `${registry.host}/objects@${blob.digest}`;
    const id = await fleet.pull({ reference, nodes: [], want: 'object' });
    const status = await fleet.ended(id);
    assert.equal(status.state, 'ready', JSON.stringify(status.error));
    await using store = await openStore(fleet.config.store);
    assert.equal((await store.content.info(blob.digest))?.size, 5_000);
    assert.equal(await store.images.get(reference), undefined);
  });

  test('all platforms of an index are fetched; attestations are not', async () => {
    const tars = await Promise.all(['amd64', 'arm64', 'attestation'].map((name) => layer(name)));
    const images = await Promise.all(
      tars.map((tar, n) => pushImage(registry.host, 'platforms', `p${n}`, [tar])),
    );
    const platforms = [
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'arm64' },
      { os: 'unknown', architecture: 'unknown' },
    ];
    const manifests = images.map(({ digest, manifest }, n) => ({
      mediaType: mediaTypes.ociManifest,
      ...{ digest, size: manifest.length, platform: platforms[n] },
    }));
    const index = { schemaVersion: 2, manifests };
    const bytes = Buffer.from(JSON.stringify(index));
    await pushManifest(registry.host, 'platforms', 'all', bytes, mediaTypes.ociIndex);
    const status = await pull(`${registry.host}/platforms:all`, 'all');
    assert.equal(status.state, 'ready', JSON.stringify(status.error));
    assert.deepEqual(
      status.blobs.map(({ kind }) => kind),
      ['index', 'manifest', 'config', 'layer', 'manifest', 'config', 'layer'],
    );
    const fetched = status.blobs.map(({ descriptor }) => descriptor.digest);
    assert.deepEqual(
      images.map(({ digest }) => fetched.includes(digest)),
      [true, true, false],
    );
  });

  test('a manifest alone is resolved without its layers, and gets no name', async () => {
    const image = await pushImage(registry.host, 'looked-at', 'v1', [await layer('not fetched')]);
    const id = await fleet.pull({
      ...{ reference: `${registry.host}/looked-at:v1`, nodes: [], want: 'manifest' },
    });
    const status = await fleet.ended(id);
    assert.equal(status.target?.digest, image.digest);
    assert.deepEqual(
      status.blobs.map(({ kind }) => kind),
      ['manifest', 'config'],
    );
    await using store = await openStore(fleet.config.store);
    assert.equal(await store.images.get(`${registry.host}/looked-at:v1`), undefined);
  });

  test('an unknown image fails at once and says so', async () => {
    const status = await pull(`${registry.host}/no/such:image`);
    assert.equal(status.error?.code, 'IMAGE_UNKNOWN');
  });

  test('after Redis was wiped, images are still listed and nothing is fetched again', async () => {
    const image = await pushImage(registry.host, 'wiped', 'v1', [await layer(randomBytes(9_000))]);
    assert.equal((await pull(image.reference)).state, 'ready');
    await fleet.redis.flushall();
    await using store = await openStore(fleet.config.store);
    assert.equal((await store.images.get(image.reference))?.target.digest, image.digest);
    assert.equal((await pull(image.reference)).state, 'ready');
    assert.equal(await downloads(image.layers[0]?.digest ?? ''), 1);
  });
});
