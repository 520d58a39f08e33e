import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openFolderStore } from '../../../../shared/content/folder/store.ts';
import { type ChainID, chainIDs, type Digest, digestOf } from '../../../../shared/image/digest.ts';
import { LayerApplier } from '../../../../worker/agent/layer/apply.ts';
import type { Snapshots } from '../../../../worker/agent/snapshot/snapshots.ts';
import { unpackImage } from '../../../../worker/agent/unpack/image.ts';
import type { Applier } from '../../../../worker/agent/unpack/layer.ts';
import type { LayerEvent } from '../../../../worker/agent/unpack/progress.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { until } from '../../../support/until.ts';
import { openRoot, temporaryFolder } from '../snapshot/agent-root.ts';
import { imageOf, layerOf, MemoryContent, type TestLayer } from './layers.ts';

/** An applier that counts what it was asked for. */
class CountingApplier implements Applier {
  readonly #applier: Applier;
  readonly targets: string[] = [];
  constructor(applier: Applier) {
    this.#applier = applier;
  }
  apply(...call: Parameters<Applier['apply']>) {
    this.targets.push(call[1]);
    return this.#applier.apply(...call);
  }
}

describe('unpackImage', () => {
  const shared = new LayerApplier({ threads: 2 });
  after(() => shared[Symbol.asyncDispose]());

  async function setUp() {
    await using stack = new AsyncDisposableStack();
    const root = stack.use(await temporaryFolder());
    const { snapshots } = stack.use(await openRoot(root.path));
    const content = new MemoryContent();
    const owned = stack.move();
    return {
      services: { snapshots, content, applier: new CountingApplier(shared) },
      folders: () => readdir(join(root.path, 'snapshots')),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  }

  const stack = (count: number): Promise<TestLayer[]> =>
    Promise.all(
      Array.from({ length: count }, (_, i) =>
        layerOf({ 'folder/': null, [`file-${i}`]: `${i}`, top: `layer ${i}` }),
      ),
    );
  const topOf = async (snapshots: Snapshots, chainID: ChainID | undefined) => {
    assert.ok(chainID !== undefined);
    const folders = snapshots.lowerDirectories(chainID);
    return await Promise.all(folders.map((folder) => readFile(join(folder, 'top'), 'utf8')));
  };

  test('unpacks what is in the store, once, and tells so', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { snapshots, content, applier } = env.services;
    const layers = await stack(5);
    content.commit(...layers);
    const events: LayerEvent[] = [];
    const onLayer = (event: LayerEvent) => events.push(event);
    const image = { ...env.services, ...imageOf(layers) };
    const chainID = await unpackImage(image, { onLayer });
    assert.equal(chainID, chainIDs(layers.map(({ diffID }) => diffID)).at(-1));
    assert.deepEqual(
      await topOf(snapshots, chainID),
      [4, 3, 2, 1, 0].map((i) => `layer ${i}`),
    );
    const done = () => events.filter(({ state }) => state === 'done');
    assert.deepEqual(
      done().map(({ index, existed }) => [index, existed]),
      [0, 1, 2, 3, 4].map((index) => [index, false]),
    );
    assert.ok(done().every(({ bytes }) => bytes > 0));

    events.length = 0;
    assert.equal(await unpackImage(image, { onLayer }), chainID);
    assert.equal(applier.targets.length, 5);
    assert.equal(done().filter(({ existed }) => existed).length, 5);
  });

  test('an image without layers has no file system; the same layer twice is applied twice', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { snapshots, content } = env.services;
    assert.equal(await unpackImage({ ...env.services, ...imageOf([]) }), undefined);
    const [layer] = await stack(1);
    assert.ok(layer !== undefined);
    content.commit(layer);
    const chainID = await unpackImage({ ...env.services, ...imageOf([layer, layer]) });
    assert.equal((await topOf(snapshots, chainID)).length, 2);
  });

  test('applies layers as their bytes come, and commits them in the order of the chain', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { snapshots, content, applier } = env.services;
    // More layers than threads: one whose bytes have not begun must hold none.
    const layers = await stack(6);
    const chain = chainIDs(layers.map(({ diffID }) => diffID));
    const order: number[] = [];
    const onLayer = ({ index, state }: LayerEvent) => {
      if (state === 'done') order.push(index);
    };
    const unpacking = unpackImage({ ...env.services, ...imageOf(layers) }, { onLayer });
    for (const [index, layer] of [...layers.entries()].reverse()) {
      const { blob, descriptor } = layer;
      content.set(descriptor.digest, blob.subarray(0, 40), false);
      await sleep(20);
      content.set(descriptor.digest, blob, index % 2 === 0);
      if (index % 2 === 1) await sleep(5);
      content.commit(layer);
      await until('its turn', () => applier.targets.length === layers.length - index);
      if (index === 0) break;
      assert.deepEqual(order, []);
      assert.equal(snapshots.committed(chain[index] as ChainID), undefined);
    }
    await unpacking;
    assert.deepEqual(order, [0, 1, 2, 3, 4, 5]);
  });

  test('two images that share layers unpack each once', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { content, applier } = env.services;
    const layers = await stack(6);
    const [a, b] = [layers.slice(0, 5), [...layers.slice(0, 4), ...layers.slice(5)]];
    const both = [a, b, a].map((each) => unpackImage({ ...env.services, ...imageOf(each) }));
    await sleep(10);
    content.commit(...layers);
    const [first, second, third] = await Promise.all(both);
    assert.equal(first, third);
    assert.notEqual(first, second);
    assert.equal(applier.targets.length, 6);
    assert.equal((await env.folders()).length, 6);
  });

  test('whoever waits for another pull tries itself when that one is aborted or fails', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { content, applier } = env.services;
    const [shared, other] = await stack(2);
    assert.ok(shared !== undefined && other !== undefined);
    const leaving = new AbortController();
    const image = { ...env.services, ...imageOf([shared]) };
    const first = unpackImage(image, { signal: leaving.signal });
    const broken = { ...other, diffID: shared.diffID };
    const second = unpackImage({ ...env.services, ...imageOf([broken]) });
    leaving.abort(new Error('no longer wanted'));
    await assert.rejects(first, /no longer wanted/);
    content.set(other.descriptor.digest, other.blob.subarray(0, 30), false);
    await until('the second’s turn', () => applier.targets.length === 1);
    const third = unpackImage(image);
    content.commit(shared, other);
    await assert.rejects(second, { code: 'DIFFID_MISMATCH' });
    assert.equal(await third, chainIDs([shared.diffID])[0]);
    // Before the broken one counts as broken, it is read once more than while it was on its way.
    assert.equal(applier.targets.length, 4);
    assert.equal((await env.folders()).length, 1);
  });

  test('80. a wrong diffID: DIFFID_MISMATCH, nothing of that layer or above it is committed', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { snapshots, content } = env.services;
    const layers = await stack(4);
    content.commit(...layers);
    const [, , third] = layers;
    assert.ok(third !== undefined);
    const wrong = digestOf('something else') as string as typeof third.diffID;
    const lies = layers.map((layer) => (layer === third ? { ...layer, diffID: wrong } : layer));
    const states: LayerEvent[] = [];
    const unpacking = unpackImage(
      { ...env.services, ...imageOf(lies) },
      { onLayer: (event) => states.push(event) },
    );
    await assert.rejects(unpacking, (error: Error & { code: string }) => {
      assert.equal(error.code, 'DIFFID_MISMATCH');
      for (const part of ['Layer 3 of 4', third.descriptor.digest, wrong, third.diffID]) {
        assert.ok(error.message.includes(part), `"${error.message}" names ${part}`);
      }
      return true;
    });
    const chain = chainIDs(lies.map(({ diffID }) => diffID));
    assert.deepEqual(
      chain.slice(2).map((chainID) => snapshots.committed(chainID)),
      [undefined, undefined],
    );
    assert.equal((await env.folders()).length, snapshots.list().length);
    assert.deepEqual(
      states.filter(({ state }) => state === 'failed').map(({ index }) => index),
      [2],
    );
  });

  test('a failing layer aborts the others, which leave nothing', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { snapshots, content } = env.services;
    const [first, second, sound] = await stack(3);
    assert.ok(first !== undefined && second !== undefined && sound !== undefined);
    const third = cutShort(sound, 60);
    const layers = [first, second, third];
    // The first has begun and goes no further; the second never begins.
    content.set(first.descriptor.digest, first.blob.subarray(0, 30), false);
    content.commit(third);
    await assert.rejects(unpackImage({ ...env.services, ...imageOf(layers) }), {
      code: 'LAYER_INVALID',
      message: /^Layer 3 of 3/,
    });
    assert.deepEqual(await env.folders(), []);
    assert.deepEqual(snapshots.list(), []);
  });

  test('broken bytes of an ingest are tried once more, from the committed blob', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { snapshots, content, applier } = env.services;
    const [layer, other] = await stack(2);
    assert.ok(layer !== undefined && other !== undefined);
    const { digest } = layer.descriptor;
    for (const lie of [Buffer.alloc(layer.blob.length, 'no gzip'), other.blob]) {
      content.set(digest, lie, false);
      applier.targets.length = 0;
      content.followed.length = 0;
      const unpacking = unpackImage({ ...env.services, ...imageOf([layer]) });
      await until(
        'that the lie is applied',
        () => content.followed.length > 0 && applier.targets.length === 1,
      );
      content.commit(layer);
      const chainID = await unpacking;
      assert.ok(chainID !== undefined);
      assert.equal(applier.targets.length, 2);
      assert.deepEqual(await topOf(snapshots, chainID), ['layer 0']);
      await snapshots.remove(chainID);
    }
    assert.deepEqual(await env.folders(), []);
  });

  test('a wrong blob in the store is fetched again and applied; without a fetch it is told', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { snapshots, content } = env.services;
    const [layer, other] = await stack(2);
    assert.ok(layer !== undefined && other !== undefined);
    const { digest } = layer.descriptor;
    for (const wrong of [other.blob, layer.blob.subarray(0, 50), Buffer.alloc(layer.blob.length)]) {
      content.set(digest, wrong, true);
      const asked: string[] = [];
      const refetch = async (lost: Digest, why: string) => {
        asked.push(`${lost} ${why}`);
        await sleep(50);
        content.commit(layer);
      };
      const chainID = await unpackImage({ ...env.services, ...imageOf([layer]) }, { refetch });
      assert.ok(chainID !== undefined);
      assert.deepEqual(asked, [`${digest} is wrong`]);
      assert.deepEqual(await topOf(snapshots, chainID), ['layer 0']);
      await snapshots.remove(chainID);
      content.set(digest, wrong, true);
      await assert.rejects(unpackImage({ ...env.services, ...imageOf([layer]) }), {
        code: 'BLOB_UNKNOWN',
      });
    }
    assert.deepEqual(await env.folders(), []);
  });

  test('bytes that are torn on their way are read again; of a broken image they are not doubted for long', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { snapshots, content } = env.services;
    const [layer, sound] = await stack(2);
    assert.ok(layer !== undefined && sound !== undefined);
    content.commit(layer);
    let torn = 3;
    content.onTheWay = (bytes) => (torn-- > 0 ? Buffer.from(bytes).fill(torn, 20) : bytes);
    const refetch = () => assert.fail('the store has it right');
    const chainID = await unpackImage({ ...env.services, ...imageOf([layer]) }, { refetch });
    assert.ok(chainID !== undefined);
    assert.deepEqual(await topOf(snapshots, chainID), ['layer 0']);
    torn = 1_000;
    await snapshots.remove(chainID);
    await assert.rejects(unpackImage({ ...env.services, ...imageOf([layer]) }, { refetch }), {
      code: 'STORE_UNAVAILABLE',
      retryable: true,
    });
    content.onTheWay = (bytes) => bytes;
    const broken = cutShort(sound, 60);
    content.commit(broken);
    content.readings.length = 0;
    await assert.rejects(unpackImage({ ...env.services, ...imageOf([broken]) }, { refetch }), {
      code: 'LAYER_INVALID',
      retryable: false,
    });
    assert.equal(content.readings.length, 2);
    assert.deepEqual(await env.folders(), []);
  });

  test('what was unpacked can be mounted, and lower files that a layer deletes are gone', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { snapshots, content } = env.services;
    const layers = await Promise.all([
      layerOf({ 'bin/': null, 'bin/old': 'old', 'bin/kept': 'kept', 'etc/conf': 'one' }),
      layerOf({ 'bin/.wh.old': '', 'bin/new': 'new', 'etc/conf': 'two' }),
    ]);
    content.commit(...layers);
    const chainID = await unpackImage({ ...env.services, ...imageOf(layers) });
    await snapshots.prepare('box', chainID);
    await using target = await temporaryFolder();
    await using cleanUp = new AsyncDisposableStack();
    cleanUp.defer(() => snapshots.unmount(target.path));
    await snapshots.mount('box', target.path);
    assert.deepEqual((await readdir(join(target.path, 'bin'))).sort(), ['kept', 'new']);
    assert.equal(await readFile(join(target.path, 'etc/conf'), 'utf8'), 'two');
  });

  test('unpacks from a folder store what is in it, and what is on its way into it', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    await using folder = await temporaryFolder();
    await using store = await openFolderStore({ path: join(folder.path, 'content') });
    const { content } = store;
    const layers = await stack(4);
    const [first, ...rest] = layers;
    assert.ok(first !== undefined);
    const write = async ({ descriptor, blob }: TestLayer) => {
      await using ingest = await content.ingest(descriptor);
      for (let at = 0; at < blob.length; at += 50) {
        await ingest.write(blob.subarray(at, at + 50));
        await sleep(2);
      }
      await ingest.commit();
    };
    await write(first);
    const unpacking = unpackImage({ ...env.services, content, ...imageOf(layers) });
    await Promise.all(rest.reverse().map(write));
    assert.deepEqual(
      await topOf(env.services.snapshots, await unpacking),
      [3, 2, 1, 0].map((i) => `layer ${i}`),
    );
    assert.equal(env.services.applier.targets.length, 4);
  });

  test('79. more or fewer diff_ids than layers: CONFIG_INVALID before unpacking', async (t) => {
    if (!requireRoot(t)) return;
    await using env = await setUp();
    const { snapshots, content, applier } = env.services;
    const layers = await stack(2);
    content.commit(...layers);
    const { manifest, config } = imageOf(layers);
    const [one, three] = [imageOf(layers.slice(1)), imageOf([...layers, ...layers.slice(1)])];
    for (const image of [
      { manifest: one.manifest, config },
      { manifest: three.manifest, config },
      { manifest, config: imageOf([]).config },
    ]) {
      await assert.rejects(unpackImage({ ...env.services, ...image }), { code: 'CONFIG_INVALID' });
    }
    assert.deepEqual([applier.targets, content.readings, snapshots.list()], [[], [], []]);
    assert.deepEqual(await env.folders(), []);
  });

  test('what is no tar layer is refused before anything starts', async () => {
    await using env = await setUp();
    const layers = await stack(2);
    const { manifest, config } = imageOf(layers);
    const [first, second] = manifest.layers;
    assert.ok(first !== undefined && second !== undefined);
    const foreign = { ...second, mediaType: 'application/vnd.in-toto+json' };
    await assert.rejects(
      unpackImage({ ...env.services, manifest: { layers: [first, foreign] }, config }),
      { code: 'LAYER_INVALID', message: /Layer 2 of 2.*in-toto/ },
    );
    await assert.rejects(
      unpackImage({ ...env.services, manifest, config }, { signal: AbortSignal.abort() }),
      { name: 'AbortError' },
    );
    assert.deepEqual(await env.folders(), []);
  });
});

/** A layer whose blob ends too early, and has its digest. */
function cutShort(layer: TestLayer, length: number): TestLayer {
  const blob = layer.blob.subarray(0, length);
  return {
    ...layer,
    blob,
    descriptor: { ...layer.descriptor, digest: digestOf(blob), size: length },
  };
}
