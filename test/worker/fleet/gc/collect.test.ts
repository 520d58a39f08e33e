import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { putBytes } from '../../../../shared/content/blob.ts';
import type { Ingest, Store } from '../../../../shared/content/store.ts';
import type { DesiredSet } from '../../../../shared/desired/desired-set.ts';
import { leasing } from '../../../../shared/gc/lease.ts';
import { type Descriptor, mediaTypes } from '../../../../shared/image/descriptor.ts';
import { digestOf } from '../../../../shared/image/digest.ts';
import { contentComplete } from '../../../../worker/fleet/join.ts';
import { Random } from '../../../fuzz/random.ts';
import { requireTool } from '../../../support/requirements.ts';
import { until } from '../../../support/until.ts';
import { digestsOf, imageOf, openGcBench, putImage, type TestImage } from './store.ts';

const hour = 3_600_000;
const pullRequest = { platform: 'linux/amd64', nodes: [] as string[], want: 'image' as const };

describe('garbage of the content store', () => {
  test('what a name, an open pull or a desired set leads to stays; the rest goes when it is old', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    await using bench = await openGcBench();
    const { store, records } = bench;
    const named = await bench.put('r/named', ['base', 'named']);
    const pulled = await bench.put('r/pulled', ['base', 'pulled']);
    const desired = await bench.put('r/desired', ['base', 'desired']);
    const unnamed = await bench.put('r/unnamed', ['base', 'unnamed']);
    const young = await bench.put('r/young', ['young']);
    // An index of which one platform was fetched.
    const other = imageOf('r/never', ['never']);
    const indexBytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: [named.manifest, other.manifest],
      }),
    );
    const index = {
      ...{ mediaType: mediaTypes.ociIndex, digest: digestOf(indexBytes), size: indexBytes.length },
    };
    await putBytes(store.content, index, indexBytes);
    await store.images.put({ name: 'r/named:1', target: index, manifest: named.manifest });
    const id = await records.create({ ...pullRequest, reference: 'r/pulled:1' });
    await records.plan(
      id,
      [{ platform: 'linux/amd64', manifest: pulled.manifest, layers: [] }],
      [pulled.manifest, pulled.config, ...pulled.layers].map((descriptor) => ({
        ...{ descriptor, kind: 'layer', existed: true },
      })),
    );
    await store.desired.put(setOf(desired));
    const all = [named, pulled, desired, unnamed].flatMap(digestsOf);
    await bench.age([...all, index.digest], 2 * hour);

    const before = await bench.digests();
    const dry = await bench.collect({ graceMs: hour, dryRun: true });
    assert.deepEqual(await bench.digests(), before, 'a dry run removes nothing');
    const gone = digestsOf(unnamed).filter((digest) => !digestsOf(named).includes(digest));
    assert.deepEqual(dry.items.map(({ name }) => name).sort(), gone.sort());
    assert.match(
      dry.items[0]?.why ?? '',
      /^no image, pull or desired set leads to it; stored 2 h ago/,
    );
    assert.deepEqual(
      dry.kept.map(({ count }) => count),
      [digestsOf(young).length],
    );
    const done = await bench.collect({ graceMs: hour });
    assert.deepEqual(done, dry);
    assert.deepEqual(
      await bench.digests(),
      new Set([...before].filter((digest) => !gone.includes(digest))),
    );
    assert.deepEqual((await bench.collect({ graceMs: hour })).items, []);
    // Without Redis names and sets still lead to all that they need.
    await bench.redis.flushall();
    await bench.collect();
    assert.deepEqual(
      await bench.digests(),
      new Set([index.digest, ...digestsOf(named), ...digestsOf(desired)]),
    );
  });

  test('names go by the rules, but not those that somebody needs', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    await using bench = await openGcBench();
    const { store, records } = bench;
    const image = await bench.put('app', ['layer']);
    const put = async (name: string, days: number) => {
      const at = new Date(Date.now() - days * 24 * hour);
      await store.images.put({
        ...{ name, target: image.manifest, manifest: image.manifest, updatedAt: at, pulledAt: at },
      });
    };
    for (let day = 1; day <= 5; day++) await put(`reg.io/app/web:${day}`, day * 10);
    await put('reg.io/app/db:1', 50);
    await put('reg.io/kept:1', 500);
    await records.create({ ...pullRequest, reference: 'reg.io/app/web:5' });
    const retention = [
      { images: 'reg.io/app/*', unusedForMs: 25 * 24 * hour, keep: 1 },
      { images: 'reg.io/*:2', unusedForMs: 0 },
    ];
    const dry = await bench.collect({ retention, dryRun: true });
    assert.deepEqual(
      dry.items.map(({ kind, name }) => [kind, name]),
      [
        ['image', 'reg.io/app/web:3'],
        ['image', 'reg.io/app/web:4'],
      ],
    );
    await bench.collect({ retention });
    assert.deepEqual(
      (await store.images.list()).map(({ name }) => name),
      ['app/web:1', 'app/web:2', 'app/web:5', 'app/db:1', 'kept:1']
        .map((n) => `reg.io/${n}`)
        .sort(),
    );
    assert.equal((await bench.digests()).size, 3);
  });

  test('a name that can not be followed keeps everything, and says so', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    await using bench = await openGcBench();
    const broken = await bench.put('broken', ['layer']);
    await bench.put('garbage', ['other']);
    await bench.store.images.put({
      name: 'r/b:1',
      target: broken.manifest,
      manifest: broken.manifest,
    });
    await bench.store.content.remove(broken.manifest.digest);
    const before = await bench.digests();
    const report = await bench.collect();
    assert.match(report.problems.join(), /r\/b:1: the store lacks sha256:.*dray images rm r\/b:1/);
    assert.deepEqual(await bench.digests(), before);
    await bench.store.images.remove('r/b:1');
    assert.deepEqual((await bench.collect()).problems, []);
    assert.deepEqual(await bench.digests(), new Set());
  });

  test('what somebody leased since the collection began stays, also when the lease has ended', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    await using bench = await openGcBench();
    const { store } = bench;
    const [held, released, free] = await Promise.all(
      ['held', 'released', 'free'].map((name) => bench.put(name, [name])),
    );
    assert.ok(held !== undefined && released !== undefined && free !== undefined);
    await using lease = bench.newLease();
    // While the marks are read: after the run began, before anything is removed.
    const images = {
      ...store.images,
      list: async () => {
        await lease.hold(digestsOf(held));
        await using short = bench.newLease();
        await short.hold(digestsOf(released));
        return await store.images.list();
      },
    };
    const report = await bench.collect({ store: { ...store, images } });
    assert.deepEqual(report.items.map(({ name }) => name).sort(), digestsOf(free).sort());
    assert.deepEqual(
      report.kept.map(({ count }) => count),
      [6],
    );
    await bench.collect();
    assert.deepEqual(await bench.digests(), new Set(digestsOf(held)));
    await lease[Symbol.asyncDispose]();
    await bench.collect();
    assert.deepEqual(await bench.digests(), new Set());
  });

  test('the lease of a holder that was killed ends by itself', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    await using bench = await openGcBench();
    const image = await bench.put('held', ['held']);
    const script = path.join(import.meta.dirname, 'holder-process.ts');
    const child = spawn(process.execPath, [script, bench.url, ...digestsOf(image)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    // It lives longer than one lease lasts.
    await sleep(3_500);
    assert.deepEqual((await bench.collect()).items, []);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await sleep(3_300);
    assert.equal((await bench.collect()).items.length, digestsOf(image).length);
  });

  test('who leases what is being removed waits, and finds it gone', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    await using bench = await openGcBench();
    const { store } = bench;
    const image = await bench.put('going', ['going']);
    const { digest } = image.manifest;
    const removing = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const content = {
      ...store.content,
      remove: async (...call: Parameters<typeof store.content.remove>) => {
        removing.resolve();
        await goOn.promise;
        await store.content.remove(...call);
      },
    };
    const collecting = bench.collect({ store: { ...store, content } });
    await removing.promise;
    await using lease = bench.newLease();
    let found: unknown = 'not yet';
    const looking = leasing(store.content, lease)
      .info(digest)
      .then((info) => {
        found = info;
      });
    await sleep(300);
    assert.equal(found, 'not yet');
    goOn.resolve();
    await looking;
    assert.equal(found, undefined);
    await collecting;
  });

  test('a collector that is killed while it removes leaves nothing doomed, and the next one goes on', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    await using bench = await openGcBench();
    const image = await bench.put('going', ['a', 'b']);
    const script = path.join(import.meta.dirname, 'collector-process.ts');
    const child = spawn(process.execPath, [script, bench.url, bench.folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    await using lease = bench.newLease();
    const holding = lease.hold(digestsOf(image));
    child.kill('SIGKILL');
    await assert.rejects(bench.collect(), /another collection goes on/);
    const begun = performance.now();
    await holding;
    const waited = performance.now() - begun;
    assert.ok(waited < 30_000, `what it had doomed could be relied on after ${waited} ms`);
    const left = await bench.digests();
    await lease[Symbol.asyncDispose]();
    const report = await until('a collection', () => bench.collect().catch(() => undefined));
    assert.equal(report.items.length, left.size);
    assert.deepEqual(await bench.digests(), new Set());
  });

  test('pulls that share layers, and names that go, beside collections without a pause: no name ever lacks a blob', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    await using bench = await openGcBench();
    const { store, records, newLease } = bench;
    const seed = Number(process.env.GC_SEED ?? 11);
    t.diagnostic(`seed ${seed}`);
    const random = new Random(seed);
    const contents = Array.from({ length: 6 }, (_, i) => [
      `base ${i % 2}`,
      `mid ${i % 3}`,
      `top ${i}`,
    ]);
    const images = contents.map((layers, i) => imageOf(`r/i${i}:1`, layers));
    const least = performance.now() + 8_000;
    const counts = { pulls: 0, reused: 0, removed: 0, collections: 0 };
    const goesOn = () => performance.now() < least || counts.reused <= 5 || counts.removed <= 5;
    /** Names under test right now: one actor each. */
    const actors = Array.from({ length: 4 }, async (_, actor) => {
      while (goesOn()) {
        const image = random.pick(images);
        const name = `r/actor${actor}:${random.below(3)}`;
        await pull(image, contents[images.indexOf(image)] ?? [], name);
        for (let looks = 0; looks < 3; looks++) {
          for (const digest of digestsOf(image)) {
            assert.ok(await store.content.info(digest), `${name} lacks ${digest}`);
          }
          await sleep(random.below(8));
        }
        counts.pulls++;
        await store.images.remove(name);
      }
    });
    const collector = (async () => {
      while (goesOn()) {
        counts.removed += (await bench.collect()).items.length;
        counts.collections++;
      }
    })();
    await Promise.all([...actors, collector]);
    t.diagnostic(JSON.stringify(counts));

    /** What a resolve step and a fetch do, one after the other. */
    async function pull(image: TestImage, layers: string[], reference: string): Promise<void> {
      const id = await records.create({ ...pullRequest, reference });
      const missing: Descriptor[] = [];
      {
        await using lease = newLease();
        const content = leasing(store.content, lease);
        const planned = [];
        for (const descriptor of [image.manifest, image.config, ...image.layers]) {
          const existed = (await content.info(descriptor.digest)) !== undefined;
          if (existed) counts.reused++;
          else missing.push(descriptor);
          planned.push({ descriptor, kind: 'layer' as const, existed });
          if (random.once(3)) await sleep(random.below(10));
        }
        await records.pin(id, image.manifest);
        await records.plan(
          id,
          [{ platform: 'linux/amd64', manifest: image.manifest, layers: [] }],
          planned,
        );
      }
      if (random.once(2)) await sleep(random.below(10));
      // Nothing but what was missing: what existed must still be there.
      await putImage({ content: onlyOf(store.content, missing) }, image, layers);
      for (const { digest, size } of missing) await records.blobs.arrived(id, digest, size);
      await contentComplete({ store, records, newLease }, id);
      assert.ok(await store.images.get(reference), 'nothing of it was lost on the way');
    }
  });
});

/** A store into which nothing else is put. */
function onlyOf(content: Store['content'], wanted: readonly Descriptor[]): Store['content'] {
  const nothing: Ingest = {
    ...{ offset: 0, write: async () => {}, reset: async () => {} },
    commit: async () => 'exists',
    [Symbol.asyncDispose]: async () => {},
  };
  return {
    ...content,
    ingest: async (descriptor, options) =>
      wanted.some(({ digest }) => digest === descriptor.digest)
        ? await content.ingest(descriptor, options)
        : nothing,
  };
}

function setOf({ manifest }: TestImage): DesiredSet {
  return {
    ...{ name: 'set', reference: 'r/desired:1', platform: 'linux/amd64', selector: '' },
    ...{ retention: { previous: 0 }, pace: {}, priority: 'normal', createdAt: new Date() },
    current: { target: manifest, manifest, since: new Date() },
    previous: [],
  };
}
