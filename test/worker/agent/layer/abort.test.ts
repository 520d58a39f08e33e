import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { type DiffID, digestOf } from '../../../../shared/image/digest.ts';
import { LayerApplier } from '../../../../worker/agent/layer/apply.ts';
import { rebaseLayer } from '../../../../worker/agent/layer/rebase.ts';
import { mount, unmount } from '../../../../worker/agent/linux/mount.ts';
import { unpackImage } from '../../../../worker/agent/unpack/image.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { file, hardLink, tar } from '../../../support/tar.ts';
import { describeTree } from '../../../support/tree.ts';
import { openRoot, temporaryFolder } from '../snapshot/agent-root.ts';
import { imageOf, MemoryContent, type TestLayer } from '../unpack/layers.ts';
import { Bench, chunks, openApplier, outline } from './applying.ts';

const small = tar(file('small', 'x'));

/** A file's first `length` bytes, from a new descriptor every MB. */
async function* ranges(path: string, length: number) {
  for (let position = 0; position < length; position += 1_000_000) {
    await using handle = await open(path, 'r');
    yield { fd: handle.fd, position, length: Math.min(1_000_000, length - position) };
  }
}

describe('layers that are not finished', () => {
  const applier = openApplier();
  after(() => applier[Symbol.asyncDispose]());

  /** An archive's bytes up to within a file, then nothing more; `reached` settles there. */
  function hanging() {
    const { promise: reached, resolve } = Promise.withResolvers<void>();
    const { promise: never } = Promise.withResolvers<void>();
    async function* bytes() {
      yield file('first', 'whole');
      yield file('second', randomBytes(300_000)).subarray(0, 200_000);
      resolve();
      await never;
    }
    return { source: bytes(), reached };
  }

  async function isQuiet(folder: string): Promise<void> {
    const before = outline(await describeTree(folder));
    await sleep(150);
    assert.deepEqual(outline(await describeTree(folder)), before);
  }

  test('aborted in the middle: the reason is told, nothing touches the folder any more, the next layer goes on', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    await using target = await temporaryFolder();
    const abort = new AbortController();
    const { source, reached } = hanging();
    const applying = applier.apply(source, target.path, { signal: abort.signal });
    applying.catch(() => {});
    await reached;
    await sleep(100);
    const reason = new Error('no longer wanted');
    abort.abort(reason);
    await assert.rejects(applying, (error) => error === reason);
    await isQuiet(target.path);
    assert.deepEqual(outline((await bench.apply(small)).tree), { small: 'file 1' });
  });

  test('aborted while the threads are at work, at any moment: the same', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const many = gzipSync(
      tar(...Array.from({ length: 3000 }, (_, i) => file(`d${i % 50}/f${i}`, randomBytes(2000)))),
    );
    await using folder = await temporaryFolder();
    const blob = join(folder.path, 'blob');
    await writeFile(blob, many);
    for (const [index, delay] of [0, 0, 0, 1, 5, 20, 60, 60, 60].entries()) {
      const target = join(folder.path, `${index}`);
      await mkdir(target);
      const sources = [{ file: blob }, chunks(many, 30_000), { ranges: ranges(blob, many.length) }];
      const source = sources[index % sources.length] ?? assert.fail();
      const reason = new Error(`after ${delay} ms`);
      const abort = new AbortController();
      const applying = applier.apply(source, target, { signal: abort.signal });
      const timer = setTimeout(() => abort.abort(reason), delay);
      const ended = await applying.then(
        () => 'whole',
        (error: unknown) => error,
      );
      clearTimeout(timer);
      if (ended !== 'whole') assert.equal(ended, reason);
      await isQuiet(target);
    }
    assert.deepEqual(outline((await bench.apply(small)).tree), { small: 'file 1' });
  });

  test('a file that is pointed at is applied as its bytes are, from any descriptor; one that was cut is refused', async (t) => {
    if (!requireRoot(t)) return;
    await using folder = await temporaryFolder();
    const bytes = gzipSync(tar(file('big', randomBytes(3_000_000)), file('small', 'x')));
    const blob = join(folder.path, 'blob');
    await writeFile(blob, bytes);
    const apply = async (name: string, length: number) => {
      const target = join(folder.path, name);
      await mkdir(target);
      return await applier.apply({ ranges: ranges(blob, length) }, target);
    };
    const { diffID } = await apply('pointed', bytes.length);
    const target = join(folder.path, 'whole');
    await mkdir(target);
    assert.equal((await applier.apply({ file: blob }, target)).diffID, diffID);
    await assert.rejects(apply('cut', bytes.length + 1), {
      ...{ code: 'LAYER_INVALID', message: new RegExp(`was cut at ${bytes.length} `) },
    });
    assert.equal((await apply('again', bytes.length)).diffID, diffID);
  });

  test('aborted before it has its turn: it gives it up, and the one before goes on', async (t) => {
    if (!requireRoot(t)) return;
    await using target = await temporaryFolder();
    await using own = new LayerApplier({ threads: 1 });
    await mkdir(join(target.path, 'first'));
    await mkdir(join(target.path, 'second'));
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    async function* slow() {
      begin();
      yield small.subarray(0, 700);
      await gate;
      yield small.subarray(700);
    }
    const first = own.apply(slow(), join(target.path, 'first'));
    await begun;
    const abort = new AbortController();
    const options = { signal: abort.signal };
    const second = own.apply(chunks(small), join(target.path, 'second'), options);
    const gaveUp = assert.rejects(second, /gave up/);
    await sleep(30);
    abort.abort(new Error('gave up'));
    await gaveUp;
    await assert.rejects(own.apply(chunks(small), target.path, options), /gave up/);
    open();
    assert.equal((await first).entries, 1);
    assert.deepEqual(await readdir(join(target.path, 'second')), []);
  });

  test('a source that hangs: LAYER_LIMIT after the time without progress', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    await using target = await temporaryFolder();
    const started = performance.now();
    await assert.rejects(
      applier.apply(hanging().source, target.path, { limits: { idleTimeoutMs: 400 } }),
      { code: 'LAYER_LIMIT', message: /Nothing .* 400 ms/ },
    );
    assert.ok(performance.now() - started >= 400);
    await isQuiet(target.path);
    assert.deepEqual(outline((await bench.apply(small)).tree), { small: 'file 1' });
  });

  test('a source that is slow but moves: applied, however long it takes', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    async function* slow() {
      for await (const chunk of chunks(small, 200)) {
        await sleep(250);
        yield chunk;
      }
    }
    const { layer } = await bench.apply(slow(), { limits: { idleTimeoutMs: 1500 } });
    assert.equal(layer.tarBytes, small.length);
  });

  test('a source that throws: its own error, and the next layer goes on', async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const lost = new Error('the store went away');
    for (const parts of [[], [small.subarray(0, 700)], [small]]) {
      async function* broken() {
        yield* parts;
        throw lost;
      }
      await assert.rejects(bench.apply(broken()), (error) => error === lost);
    }
    assert.deepEqual(outline((await bench.apply(small)).tree), { small: 'file 1' });
  });

  test('a source whose archive is refused early is closed', { timeout: 30_000 }, async (t) => {
    if (!requireRoot(t)) return;
    await using bench = await Bench.open(applier);
    const { promise: closed, resolve: close } = Promise.withResolvers<void>();
    async function* endless() {
      try {
        yield Buffer.alloc(4096, 'no archive');
        for (;;) yield Buffer.alloc(65_536);
      } finally {
        close();
      }
    }
    await assert.rejects(bench.apply(endless()), { code: 'LAYER_INVALID' });
    await closed;
  });

  test('disposing the applier cancels what is applied and what waits', async (t) => {
    if (!requireRoot(t)) return;
    await using target = await temporaryFolder();
    const own = new LayerApplier({ threads: 1 });
    const { source, reached } = hanging();
    const applying = own.apply(source, target.path);
    applying.catch(() => {});
    await reached;
    const waiting = own.apply(chunks(small), target.path);
    waiting.catch(() => {});
    await sleep(30);
    await own[Symbol.asyncDispose]();
    await assert.rejects(applying);
    await assert.rejects(waiting, { code: 'CANCELLED' });
    await isQuiet(target.path);
  });

  describe('on a disk that is full', () => {
    const layerOf = (bytes: Buffer, plain: Buffer): TestLayer => ({
      descriptor: {
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
        digest: digestOf(bytes),
        size: bytes.length,
      },
      diffID: digestOf(plain) as string as DiffID,
      blob: bytes,
    });

    async function disk(options: string) {
      await using stack = new AsyncDisposableStack();
      const { path } = stack.use(await temporaryFolder());
      mount('tmpfs', path, 'tmpfs', 0, options);
      stack.defer(() => unmount(path));
      const owned = stack.move();
      return { path, [Symbol.asyncDispose]: () => owned.disposeAsync() };
    }

    const filling: [what: string, options: string, archive: Buffer, message: RegExp][] = [
      [
        'in blocks',
        'size=4m',
        tar(file('zeros', Buffer.alloc(8_000_000))),
        /"zeros": the disk is full/,
      ],
      [
        'in inodes',
        'size=40m,nr_inodes=60',
        tar(...Array.from({ length: 80 }, (_, i) => file(`f${i}`))),
        /"f\d+": the disk is full/,
      ],
      [
        'for less than the blob itself',
        'size=4m',
        tar(file('random', randomBytes(6_000_000))),
        /at least 60\d+ bytes/,
      ],
    ];
    for (const [what, options, archive, message] of filling) {
      test(`${what}: NO_SPACE, no snapshot, and the node works again when there is room`, async (t) => {
        if (!requireRoot(t)) return;
        await using place = await disk(options);
        using node = await openRoot(place.path);
        const { snapshots } = node;
        const content = new MemoryContent();
        const [layer, other] = [layerOf(gzipSync(archive), archive), layerOf(small, small)];
        content.commit(layer, other);
        const services = { snapshots, content, applier };
        await unpackImage({ ...services, ...imageOf([other]) });
        await assert.rejects(unpackImage({ ...services, ...imageOf([other, layer]) }), {
          code: 'NO_SPACE',
          message,
          retryable: true,
          hint: /Free space/,
        });
        assert.equal(snapshots.list().length, 1);
        assert.equal((await readdir(join(place.path, 'snapshots'))).length, 1);

        mount('tmpfs', place.path, 'tmpfs', 0x20, 'size=40m,nr_inodes=1000');
        const chain = await unpackImage({ ...services, ...imageOf([other, layer]) });
        assert.ok(chain !== undefined && snapshots.committed(chain) !== undefined);
      });
    }

    test('when a hard link copies up what is below: NO_SPACE', async (t) => {
      if (!requireRoot(t)) return;
      await using place = await disk('size=4m');
      await using lower = await temporaryFolder();
      const from = join(lower.path, 'lower');
      const upper = join(place.path, 'upper');
      await mkdir(from);
      await mkdir(upper);
      await applier.apply(chunks(tar(file('large', randomBytes(6_000_000)))), from);
      const { deferred } = await applier.apply(chunks(tar(hardLink('link', 'large'))), upper);
      await assert.rejects(rebaseLayer(upper, [from], deferred), {
        code: 'NO_SPACE',
        retryable: true,
      });
      await rm(upper, { recursive: true });
      await mkdir(upper);
      const retry = await applier.apply(chunks(small), upper);
      await rebaseLayer(upper, [from], retry.deferred);
    });
  });
});
