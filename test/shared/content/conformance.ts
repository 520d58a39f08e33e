import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { putBytes, readVerified } from '../../../shared/content/blob.ts';
import { openStore, type StoreConfig } from '../../../shared/content/open.ts';
import type { ContentStore, IngestInfo, Store } from '../../../shared/content/store.ts';
import { type DesiredSet, withVersion } from '../../../shared/desired/desired-set.ts';
import { DrayError, type ErrorCode } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import { type Digest, parseDigest } from '../../../shared/image/digest.ts';
import { until } from '../../support/until.ts';
import { collect, describeBytes, sampleBytes, toArray, untilStored, writeFrom } from './sample.ts';

const MiB = 1 << 20;
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
/** What both kinds of store have stored of a writer that wrote 12 MiB and was killed. */
const surelyStored = 8 * MiB;

export interface StoreUnderTest {
  config: StoreConfig;
  /** Puts other bytes in the place of a blob's, past the store. */
  spoil: (digest: Digest, bytes: Uint8Array) => Promise<void>;
  /** Removes everything that `config` leads to. */
  close: () => Promise<void>;
}

/** What every store must do. `prepare` makes an empty one, or says by undefined that it can't be made here. */
export function storeConformance(name: string, prepare: () => Promise<StoreUnderTest | undefined>) {
  describe(name, () => {
    let prepared: StoreUnderTest | undefined;
    let opened: Store | undefined;
    const children: ChildProcess[] = [];

    before(async () => {
      prepared = await prepare();
      if (prepared !== undefined) opened = await openStore(prepared.config);
    });
    after(async () => {
      for (const child of children) await kill(child);
      await opened?.[Symbol.asyncDispose]();
      await prepared?.close();
    });

    const withStore = (title: string, body: (store: Store, t: TestContext) => Promise<void>) =>
      test(title, { timeout: 300_000 }, async (t) => {
        if (opened === undefined) t.skip('there is no store here');
        else await body(opened, t);
      });

    /** Starts a process that writes the first 12 MiB, and waits until the first 8 are stored. */
    const startWriter = async (store: Store, bytes: Buffer, seed: string) => {
      const script = path.join(import.meta.dirname, 'writer-process.ts');
      const args = [script, JSON.stringify(prepared?.config), `${bytes.length}`, seed];
      const child = spawn(process.execPath, [...args, `${12 * MiB}`], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      children.push(child);
      assert(child.stdout !== null);
      await once(child.stdout, 'data');
      await untilStored(store.content, describeBytes(bytes), surelyStored);
      return child;
    };

    withStore('a blob is readable after its commit and not before', async ({ content }) => {
      for (const size of [100_000, 20 * MiB]) {
        const bytes = sampleBytes(size, `visible ${size}`);
        const descriptor = describeBytes(bytes);
        await using ingest = await content.ingest(descriptor);
        await writeFrom(ingest, bytes, 0);
        assert.equal(ingest.offset, size);
        assert.equal(await content.info(descriptor.digest), undefined);
        await rejects('NOT_FOUND', collect(content.read(descriptor.digest)));
        assert.equal(await ingest.commit(), 'committed');
        assert.equal((await content.info(descriptor.digest))?.size, size);
        assert(bytes.equals(await collect(content.read(descriptor.digest))));
        assert.deepEqual(await ingestsOf(content, descriptor), []);
      }
    });

    withStore('what does not match leaves nothing', async ({ content }) => {
      for (const size of [5000, 9 * MiB]) {
        const bytes = sampleBytes(size, `mismatch ${size}`);
        const descriptor = describeBytes(bytes);
        {
          await using ingest = await content.ingest(descriptor);
          await ingest.write(sampleBytes(size, 'something else'));
          await rejects('DIGEST_MISMATCH', ingest.commit());
          assert.equal(ingest.offset, 0);
        }
        assert.deepEqual(await ingestsOf(content, descriptor), []);
        {
          await using ingest = await content.ingest(descriptor);
          assert.equal(ingest.offset, 0);
          await ingest.write(bytes.subarray(0, size - 1));
          await rejects('SIZE_MISMATCH', ingest.commit());
        }
        {
          await using ingest = await content.ingest(descriptor);
          assert.equal(ingest.offset, 0);
          await ingest.write(bytes.subarray(0, size - 1));
          await rejects('SIZE_MISMATCH', ingest.write(Buffer.alloc(2)) ?? Promise.resolve());
          await ingest.reset();
        }
        assert.equal(await content.info(descriptor.digest), undefined);
        assert.deepEqual(await ingestsOf(content, descriptor), []);
      }
    });

    withStore('an ingest is reset and written again', async ({ content }) => {
      const bytes = sampleBytes(18 * MiB, 'reset');
      const descriptor = describeBytes(bytes);
      await using ingest = await content.ingest(descriptor);
      await writeFrom(ingest, sampleBytes(17 * MiB, 'wrong'), 0);
      await ingest.reset();
      assert.equal(ingest.offset, 0);
      await writeFrom(ingest, bytes, 0);
      assert.equal(await ingest.commit(), 'committed');
      assert(bytes.equals(await collect(content.read(descriptor.digest))));
    });

    withStore('an ingest goes on after a disposed one', async ({ content }) => {
      for (const size of [3 * MiB, 30 * MiB]) {
        const bytes = sampleBytes(size, `dispose ${size}`);
        const descriptor = describeBytes(bytes);
        let start = 0;
        for (const end of [size / 6, size / 2]) {
          await using ingest = await content.ingest(descriptor);
          assert.equal(ingest.offset, start);
          await writeFrom(ingest, bytes, start, end);
          start = end;
        }
        await using ingest = await content.ingest(descriptor);
        assert.equal(ingest.offset, size / 2);
        await writeFrom(ingest, bytes, ingest.offset);
        assert.equal(await ingest.commit(), 'committed');
        assert(bytes.equals(await collect(content.read(descriptor.digest))));
        assert.deepEqual(await ingestsOf(content, descriptor), []);
      }
    });

    withStore('bytes that were taken over are not trusted', async ({ content }) => {
      const bytes = sampleBytes(9 * MiB, 'trust');
      const descriptor = describeBytes(bytes);
      {
        await using ingest = await content.ingest(descriptor);
        await writeFrom(ingest, sampleBytes(9 * MiB, 'not those'), 0, 6 * MiB);
      }
      {
        await using ingest = await content.ingest(descriptor);
        assert.equal(ingest.offset, 6 * MiB);
        await writeFrom(ingest, bytes, ingest.offset);
        await rejects('DIGEST_MISMATCH', ingest.commit());
      }
      await using ingest = await content.ingest(descriptor);
      assert.equal(ingest.offset, 0);
      assert.equal(await content.info(descriptor.digest), undefined);
    });

    withStore('an ingest goes on after a killed writer', async (store) => {
      const { content } = store;
      const bytes = sampleBytes(20 * MiB, 'killed');
      const descriptor = describeBytes(bytes);
      const child = await startWriter(store, bytes, 'killed');
      await kill(child);
      assert.equal(await content.info(descriptor.digest), undefined);
      await using ingest = await content.ingest(descriptor);
      assert(ingest.offset >= surelyStored, `${ingest.offset} bytes were resumed`);
      await writeFrom(ingest, bytes, ingest.offset);
      assert.equal(await ingest.commit(), 'committed');
      assert(bytes.equals(await collect(content.read(descriptor.digest))));
      assert.deepEqual(await ingestsOf(content, descriptor), []);
    });

    withStore('two writers of one blob are both right', async ({ content }) => {
      for (const size of [70_000, 20 * MiB]) {
        const bytes = sampleBytes(size, `two ${size}`);
        const descriptor = describeBytes(bytes);
        const write = async () => {
          await using ingest = await content.ingest(descriptor);
          await writeFrom(ingest, bytes, ingest.offset);
          return await ingest.commit();
        };
        const results = await Promise.all([write(), write(), write()]);
        assert(results.includes('committed'));
        assert(bytes.equals(await collect(content.read(descriptor.digest))));
        assert.equal(await write(), 'exists');
        assert.deepEqual(await ingestsOf(content, descriptor), []);
      }
    });

    withStore('a follower reads along, and ends with the commit', async ({ content }) => {
      const bytes = sampleBytes(30 * MiB, 'follow');
      const descriptor = describeBytes(bytes);
      const advanced = new EventTarget();
      let seen = 0;
      let ended = false;
      const follow = async (offset: number, source = content.follow) => {
        const chunks: Uint8Array[] = [];
        for await (const chunk of source(descriptor, { offset, advanced })) {
          if (offset === 0) seen += chunk.length;
          chunks.push(Buffer.from(chunk));
        }
        ended = true;
        return Buffer.concat(chunks);
      };
      const followers = [
        follow(0),
        follow(0, rangesRead(content)),
        follow(10 * MiB + 1),
        follow(bytes.length),
      ];
      await using ingest = await content.ingest(descriptor);
      await writeFrom(ingest, bytes, 0, 17 * MiB);
      await until(
        () => `16 MiB seen before the end, and not ${seen} bytes`,
        () => seen >= 16 * MiB,
      );
      await writeFrom(ingest, bytes, 17 * MiB);
      await sleep(300);
      assert.equal(ended, false);
      await ingest.commit();
      advanced.dispatchEvent(new Event('advanced'));
      const [a, b, c, d] = await Promise.all(followers);
      assert(a !== undefined && b !== undefined && c !== undefined);
      assert(bytes.equals(a) && bytes.equals(b));
      assert(bytes.subarray(10 * MiB + 1).equals(c));
      assert.equal(d?.length, 0);
      assert(bytes.equals(await collect(content.follow(descriptor))));
    });

    withStore('a follower goes on when the writer dies', async (store) => {
      const { content } = store;
      const bytes = sampleBytes(20 * MiB, 'takeover');
      const descriptor = describeBytes(bytes);
      const following = collect(content.follow(descriptor));
      const pointed = collect(rangesRead(content)(descriptor));
      const child = await startWriter(store, bytes, 'takeover');
      await sleep(200);
      await kill(child);
      {
        await using ingest = await content.ingest(descriptor);
        await writeFrom(ingest, bytes, ingest.offset, 14 * MiB);
      }
      await using ingest = await content.ingest(descriptor);
      assert.equal(ingest.offset, 14 * MiB);
      await writeFrom(ingest, bytes, ingest.offset);
      await ingest.commit();
      assert(bytes.equals(await following));
      assert(bytes.equals(await pointed));
    });

    withStore('a signal ends every wait', async ({ content, images }) => {
      const bytes = sampleBytes(1000, 'abort');
      const descriptor = describeBytes(bytes);
      const started = performance.now();
      const timeout = AbortSignal.timeout(100);
      await assert.rejects(collect(content.follow(descriptor, { signal: timeout })), {
        name: 'TimeoutError',
      });
      assert(performance.now() - started < 10_000);
      const signal = AbortSignal.abort();
      const aborted = { name: 'AbortError' };
      await assert.rejects(content.info(descriptor.digest, { signal }), aborted);
      await assert.rejects(content.ingest(descriptor, { signal }), aborted);
      await assert.rejects(collect(content.read(descriptor.digest, { signal })), aborted);
      await assert.rejects(images.list({ signal }), aborted);
      const controller = new AbortController();
      await using ingest = await content.ingest(descriptor, { signal: controller.signal });
      await ingest.write(bytes.subarray(0, 500));
      controller.abort();
      await assert.rejects(ingest.write(bytes.subarray(500)) ?? Promise.resolve(), aborted);
    });

    withStore('blobs and ingests are listed, removed and swept', async ({ content }) => {
      const bytes = sampleBytes(2000, 'list');
      const descriptor = describeBytes(bytes);
      assert.equal(await putBytes(content, descriptor, bytes), 'committed');
      assert.equal(await putBytes(content, descriptor, bytes), 'exists');
      const listed = await toArray(content.list());
      const found = listed.find(({ digest }) => digest === descriptor.digest);
      assert.equal(found?.size, 2000);
      assert(Math.abs(Date.now() - (found?.createdAt.getTime() ?? 0)) < 60_000);
      await content.remove(descriptor.digest);
      await content.remove(descriptor.digest);
      assert.equal(await content.info(descriptor.digest), undefined);

      const large = sampleBytes(20 * MiB, 'sweep');
      const left = describeBytes(large);
      {
        await using ingest = await content.ingest(left);
        await writeFrom(ingest, large, 0, 10 * MiB);
      }
      const [info] = await ingestsOf(content, left);
      assert.equal(info?.offset, 10 * MiB);
      assert.equal(info?.size, 20 * MiB);
      await content.sweep({ olderThanMs: 60_000 });
      assert.equal((await ingestsOf(content, left)).length, 1);
      const old = { olderThanMs: -5000 };
      const sweepLeft = async (options: { dryRun?: boolean }) => {
        const swept = await content.sweep({ ...old, ...options });
        return swept
          .filter(({ name }) => name === left.digest)
          .map(({ kind, bytes }) => [kind, bytes]);
      };
      assert.deepEqual(await sweepLeft({ dryRun: true }), [['ingest', 10 * MiB]]);
      assert.equal((await ingestsOf(content, left)).length, 1, 'a dry run removes nothing');
      assert.deepEqual(await sweepLeft({}), [['ingest', 10 * MiB]]);
      assert.deepEqual(await ingestsOf(content, left), []);
    });

    withStore(
      'a blob is verified: right ones stay, what is not there is said',
      async ({ content }) => {
        const bytes = sampleBytes(3 * MiB, 'verify');
        for (const algorithm of ['sha256', 'sha512'] as const) {
          const descriptor = describeBytes(bytes, algorithm);
          assert.equal(await content.verify(descriptor.digest), 'missing');
          await putBytes(content, descriptor, bytes);
          assert.equal(await content.verify(descriptor.digest), 'right');
          assert(bytes.equals(await collect(content.read(descriptor.digest))));
        }
      },
    );

    withStore('a wrong blob is set aside, and another one takes its place', async ({ content }) => {
      const bytes = sampleBytes(2 * MiB, 'spoilt');
      const descriptor = describeBytes(bytes);
      for (const wrong of [sampleBytes(2 * MiB, 'other bytes'), bytes.subarray(0, MiB)]) {
        await putBytes(content, descriptor, bytes);
        await prepared?.spoil(descriptor.digest, wrong);
        assert.equal(await content.verify(descriptor.digest, { readOnly: true }), 'wrong');
        assert.equal((await content.info(descriptor.digest))?.size, wrong.length, 'it stays');
        assert.equal(await content.verify(descriptor.digest), 'wrong');
        assert.equal(await content.info(descriptor.digest), undefined);
        assert.equal(await putBytes(content, descriptor, bytes), 'committed');
        assert.equal(await content.verify(descriptor.digest), 'right');
      }
      const kept = (await content.sweep({ olderThanMs: -5000 })).filter(
        ({ kind, name }) => kind === 'set aside' && name === descriptor.digest,
      );
      assert.deepEqual(kept.map(({ bytes: size }) => size).sort(), [MiB, 2 * MiB]);
    });

    withStore('sha512 and empty blobs', async ({ content }) => {
      const bytes = sampleBytes(10 * MiB, 'sha512');
      const empty = Buffer.alloc(0);
      for (const [blob, descriptor] of [
        [bytes, describeBytes(bytes, 'sha512')],
        [empty, describeBytes(empty)],
      ] as const) {
        const following = collect(content.follow(descriptor));
        assert.equal(await putBytes(content, descriptor, blob), 'committed');
        assert(blob.equals(await following));
        assert(blob.equals(await readVerified(content, descriptor, { maxBytes: 10 * MiB })));
        const listed = await toArray(content.list());
        assert(
          listed.some(({ digest, size }) => digest === descriptor.digest && size === blob.length),
        );
      }
    });

    withStore('a part of a blob is read', async ({ content }) => {
      const bytes = sampleBytes(3 * MiB + 7, 'ranges');
      const { digest } = describeBytes(bytes);
      await putBytes(content, describeBytes(bytes), bytes);
      for (const [offset, length] of [
        [0, 1],
        [5, 10],
        [MiB, MiB + 1],
        [3 * MiB, 1000],
        [3 * MiB + 7, 10],
        [0, 0],
      ] as const) {
        const read = await collect(content.read(digest, { offset, length }));
        assert(bytes.subarray(offset, offset + length).equals(read), `${length} from ${offset}`);
      }
      const rest = await collect(content.read(digest, { offset: 2 * MiB }));
      assert(bytes.subarray(2 * MiB).equals(rest));
      for await (const _ of content.read(digest)) break;
      await rejects(
        'SIZE_MISMATCH',
        readVerified(content, { ...describeBytes(bytes), size: 7 }, { maxBytes: 10 }),
      );
    });

    withStore('a large blob passes with little memory', async ({ content }, t) => {
      const chunk = sampleBytes(MiB / 4, 'memory');
      const count = 4 * 64;
      const hash = createHash('sha256');
      for (let i = 0; i < count; i++) hash.update(chunk);
      const digest = parseDigest(`sha256:${hash.digest('hex')}`);
      const descriptor = { mediaType: 'a/b', digest, size: count * chunk.length };
      // What is held, not what waits to be collected: that depends on the collector's mood.
      const held = () => {
        collectGarbage();
        return process.memoryUsage().arrayBuffers;
      };
      const start = held();
      let most = 0;
      await using ingest = await content.ingest(descriptor);
      for (let i = 0; i < count; i++) {
        await ingest.write(chunk);
        if (i % 8 === 0) most = Math.max(most, held() - start);
      }
      await ingest.commit();
      let read = 0;
      let measuredAt = 0;
      for await (const part of content.read(digest)) {
        read += part.length;
        if (read - measuredAt < 2 * MiB) continue;
        measuredAt = read;
        most = Math.max(most, held() - start);
      }
      assert.equal(read, descriptor.size);
      t.diagnostic(`${(most / MiB).toFixed(1)} MiB were held at most`);
      assert(most < 32 * MiB, `${Math.round(most / MiB)} MiB were held`);
    });

    withStore('records of who may have what', async ({ access }) => {
      const name = 'registry.example:5000/a/b';
      assert.equal(await access.get(name), undefined);
      const record = {
        ...{ name, publicAt: new Date(5) },
        logins: [{ digest: 'ab'.repeat(32), credential: 'ci', verifiedAt: new Date(7) }],
      };
      await access.put(record);
      await access.put({ name: 'registry.example:5000/a', logins: [] });
      assert.deepEqual(await access.get(name), record);
      assert.deepEqual(
        (await access.list()).map((each) => each.name),
        ['registry.example:5000/a', name],
      );
      assert.equal(await access.remove(name), true);
      assert.equal(await access.get(name), undefined);
      assert.equal(await access.remove('registry.example:5000/a'), true);
    });

    withStore('names of images', async ({ images }) => {
      const target = describeBytes(sampleBytes(100, 'index'));
      const manifest = describeBytes(sampleBytes(100, 'manifest'));
      const name = 'localhost:5000/library/redis:7.0';
      assert.equal(await images.get(name), undefined);
      assert.equal(await images.remove(name), false);
      await images.put({ name, target, manifest });
      const first = await images.get(name);
      assert.deepEqual(first, { name, target, manifest, updatedAt: first?.updatedAt });
      await images.put({ name, target: manifest, manifest });
      assert.deepEqual((await images.get(name))?.target, manifest);
      const others = Array.from({ length: 12 }, (_, i) => `example.com/a/b${i}@${target.digest}`);
      await Promise.all(others.map((other) => images.put({ name: other, target, manifest })));
      const listed = await images.list();
      assert.deepEqual(
        listed.map((record) => record.name),
        [...others, name].sort(),
      );
      const removed = await Promise.all(others.map((other) => images.remove(other)));
      assert(removed.every(Boolean));
      assert.equal(await images.remove(name), true);
      assert.deepEqual(await images.list(), []);
    });

    withStore('records of desired sets', async ({ desired }) => {
      const [target, manifest] = ['index', 'manifest'].map((name) =>
        describeBytes(sampleBytes(100, name)),
      );
      assert(target !== undefined && manifest !== undefined);
      const set: DesiredSet = {
        name: 'web',
        reference: 'localhost:5000/library/redis:7.0',
        platform: 'linux/amd64',
        selector: 'zone=a,gpu!=none',
        retention: { previous: 1, until: new Date(Date.now() + 3_600_000) },
        pace: { parallelism: 10, maxFailures: 2 },
        priority: 'low',
        schedule: '6h',
        createdAt: new Date(),
        previous: [],
      };
      assert.equal(await desired.get('web'), undefined);
      assert.equal(await desired.remove('web'), false);
      await desired.put(set);
      assert.deepEqual(await desired.get('web'), set);
      const version = { target, manifest, since: new Date() };
      const pinned = withVersion(set, version);
      await desired.put(pinned);
      assert.deepEqual((await desired.get('web'))?.current, version);
      await desired.put({ ...set, name: 'db' });
      assert.deepEqual(await desired.list(), [{ ...set, name: 'db' }, pinned]);
      assert.equal(await desired.remove('db'), true);
      assert.deepEqual(await desired.list(), [pinned]);
      // Of changes at the same time none undoes another, from whatever process.
      const other = await openStore((prepared as StoreUnderTest).config);
      try {
        const changes = Array.from({ length: 20 }, (_, i) =>
          (i % 2 === 0 ? desired : other.desired).update('web', (before) => {
            assert(before !== undefined);
            return { ...before, selector: `${before.selector},${i}!=none` };
          }),
        );
        assert((await Promise.all(changes)).every(Boolean));
        const parts = (await desired.get('web'))?.selector.split(',').slice(2).sort();
        assert.deepEqual(parts, Array.from({ length: 20 }, (_, i) => `${i}!=none`).sort());
        const makers = Array.from({ length: 10 }, (_, i) =>
          other.desired.update(
            'new',
            (before) => before ?? { ...set, name: 'new', selector: `${i}` },
          ),
        );
        assert.equal((await Promise.all(makers)).filter(Boolean).length, 1);
        // What was removed does not come back with a change that had looked before.
        for (let round = 0; round < 10; round++) {
          await desired.put(set);
          await Promise.all([
            desired.remove('web'),
            ...[1, 2, 3].map((i) =>
              other.desired.update('web', (before) => before && { ...before, selector: `${i}` }),
            ),
          ]);
          assert.equal(await desired.get('web'), undefined);
        }
        assert.equal(await desired.update('web', (before) => before), false);
      } finally {
        await other[Symbol.asyncDispose]();
      }
    });
  });
}

async function ingestsOf(content: Store['content'], { digest }: Descriptor): Promise<IngestInfo[]> {
  return (await toArray(content.ingests())).filter((ingest) => ingest.digest === digest);
}

async function rejects(code: ErrorCode, work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => {
    assert(error instanceof DrayError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

/** Follows by {@link ContentStore.followFile} where the store has that. */
function rangesRead(content: ContentStore): ContentStore['follow'] {
  const { followFile } = content;
  if (followFile === undefined) return content.follow;
  return async function* (descriptor, options) {
    for await (const { fd, position, length } of followFile(descriptor, options)) {
      const buffer = Buffer.alloc(length);
      assert.equal(readSync(fd, buffer, 0, length, position), length);
      yield buffer;
    }
  };
}
