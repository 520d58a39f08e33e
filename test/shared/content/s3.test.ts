import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { after, before, type TestContext, test } from 'node:test';
import { putBytes } from '../../../shared/content/blob.ts';
import type { StoreConfig } from '../../../shared/content/open.ts';
import { Bucket } from '../../../shared/content/s3/bucket.ts';
import { Keys } from '../../../shared/content/s3/keys.ts';
import { openS3Store } from '../../../shared/content/s3/store.ts';
import type { ErrorCode } from '../../../shared/errors.ts';
import { type S3Request, startHostileS3 } from '../../support/hostile-s3.ts';
import { radosgwTools, startRadosgw, type TestRadosgw } from '../../support/radosgw.ts';
import { isInstalled, requireTool } from '../../support/requirements.ts';
import { until } from '../../support/until.ts';
import { storeConformance } from './conformance.ts';
import { collect, describeBytes, sampleBytes, toArray, untilStored, writeFrom } from './sample.ts';

const MiB = 1 << 20;
let server: TestRadosgw | undefined;

before(async () => {
  if (!radosgwTools.every(isInstalled) && process.env.CI !== 'true') return;
  server = await startRadosgw();
  process.env.AWS_ACCESS_KEY_ID = server.accessKey;
  process.env.AWS_SECRET_ACCESS_KEY = server.secretKey;
});
after(() => server?.stop());

async function newBucket(): Promise<Extract<StoreConfig, { kind: 's3' }> | undefined> {
  if (server === undefined) return undefined;
  const bucket = await server.createBucket();
  return {
    kind: 's3',
    bucket,
    prefix: 'some/prefix/',
    endpoint: server.endpoint,
    forcePathStyle: true,
  };
}

storeConformance('S3 store', async () => {
  const config = await newBucket();
  if (config === undefined) return undefined;
  const bucket = new Bucket(config);
  return {
    config,
    spoil: async (digest, bytes) => {
      await bucket.put(new Keys(config.prefix).blob(digest), bytes, {});
    },
    close: async () => bucket.close(),
  };
});

async function withBucket(
  t: TestContext,
  body: (config: Extract<StoreConfig, { kind: 's3' }>) => Promise<void>,
): Promise<void> {
  if (!requireTool(t, ...radosgwTools)) return;
  const config = await newBucket();
  if (config !== undefined) await body(config);
}

/** Passes connections on, and cuts each after some bytes of answers. */
async function startCutter(target: string, cutAfter: number) {
  const { port } = new URL(target);
  const sockets = new Set<Socket>();
  let cuts = 0;
  const proxy = createServer((client) => {
    const upstream = connect(Number(port), '127.0.0.1');
    let passed = 0;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (chunk) => upstream.write(chunk));
    upstream.on('data', (chunk) => {
      passed += chunk.length;
      client.write(chunk);
      if (passed > cutAfter) {
        cuts++;
        client.destroy();
      }
    });
  });
  proxy.listen(0, '127.0.0.1');
  await new Promise((resolve) => proxy.once('listening', resolve));
  const address = proxy.address();
  assert(address !== null && typeof address === 'object');
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    cuts: () => cuts,
    [Symbol.asyncDispose]: async () => {
      proxy.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

test('a stream that breaks is continued where it was', { timeout: 240_000 }, async (t) => {
  await withBucket(t, async (config) => {
    const bytes = sampleBytes(20 * MiB, 'cuts');
    {
      await using store = await openS3Store(config);
      await putBytes(store.content, describeBytes(bytes), bytes);
    }
    await using cutter = await startCutter(config.endpoint ?? '', 3 * MiB);
    await using store = await openS3Store({ ...config, endpoint: cutter.endpoint });
    const read = await collect(store.content.read(describeBytes(bytes).digest));
    assert(bytes.equals(read));
    assert(cutter.cuts() >= 5, `${cutter.cuts()} cuts`);
  });
});

test('a bucket that is not there and wrong credentials are told', {
  timeout: 240_000,
}, async (t) => {
  await withBucket(t, async (config) => {
    await assert.rejects(openS3Store({ ...config, bucket: 'no-such-bucket' }), {
      code: 'STORE_UNAVAILABLE' satisfies ErrorCode,
      retryable: false,
    });
    const secret = process.env.AWS_SECRET_ACCESS_KEY;
    process.env.AWS_SECRET_ACCESS_KEY = 'wrong';
    try {
      await assert.rejects(openS3Store(config), (error: Error & { code?: string }) => {
        assert(error.code === 'DENIED' || error.code === 'UNAUTHORIZED', error.code);
        assert(!error.message.includes('wrong'));
        return true;
      });
    } finally {
      process.env.AWS_SECRET_ACCESS_KEY = secret;
    }
  });
});

test('parts that a reader relies on are those that it read', { timeout: 240_000 }, async (t) => {
  await withBucket(t, async (config) => {
    await using store = await openS3Store(config);
    const bytes = sampleBytes(20 * MiB, 'parts');
    const descriptor = describeBytes(bytes);
    {
      await using ingest = await store.content.ingest(descriptor);
      await writeFrom(ingest, bytes, 0, 9 * MiB);
    }
    await using resumed = await store.content.ingest(descriptor);
    assert.equal(resumed.offset, 9 * MiB);
    // Everything it relies on goes away under it: its commit fails, and nothing becomes readable.
    await store.content.sweep({ olderThanMs: -5000 });
    await writeFrom(resumed, bytes, resumed.offset);
    await assert.rejects(resumed.commit(), { code: 'STORE_UNAVAILABLE', retryable: true });
    assert.equal(await store.content.info(descriptor.digest), undefined);
  });
});

test('multipart uploads that nobody completes are swept', { timeout: 240_000 }, async (t) => {
  await withBucket(t, async (config) => {
    await using store = await openS3Store(config);
    const bucket = new Bucket(config);
    const keys = new Keys(config.prefix);
    const { digest } = describeBytes(sampleBytes(10, 'upload'));
    await bucket.uploads.begin(keys.blob(digest), {});
    await store.content.sweep({ olderThanMs: 60_000 });
    assert.equal((await toArray(bucket.uploads.list(keys.blobs, {}))).length, 1);
    await store.content.sweep({ olderThanMs: -5000 });
    assert.deepEqual(await toArray(bucket.uploads.list(keys.blobs, {})), []);
    bucket.close();
  });
});

test('an error inside a 200 is seen, whether the server did what was asked or not', {
  timeout: 240_000,
}, async (t) => {
  await withBucket(t, async (config) => {
    await using proxy = await startHostileS3(config.endpoint ?? '');
    await using store = await openS3Store({ ...config, endpoint: proxy.endpoint });
    const isComplete = ({ method, query }: S3Request) => method === 'POST' && query.has('uploadId');
    const isCopy = ({ method, query }: S3Request) => method === 'PUT' && query.has('partNumber');
    for (const [name, applies] of Object.entries({ isComplete, isCopy })) {
      for (const done of [true, false]) {
        const bytes = sampleBytes(20 * MiB, `${name} ${done}`);
        const descriptor = describeBytes(bytes);
        let left = 1;
        proxy.decide = (request) =>
          applies(request) && left-- > 0
            ? { kind: 'error in 200', code: 'InternalError', done }
            : undefined;
        const result = await putBytes(store.content, descriptor, bytes);
        assert.ok(left < 1, `${name} was asked`);
        // What was lost was the answer only: then the object is there.
        assert.match(result, /committed|exists/);
        assert(bytes.equals(await collect(store.content.read(descriptor.digest))));
      }
      const bytes = sampleBytes(20 * MiB, `${name} for good`);
      proxy.decide = (request) =>
        applies(request) ? { kind: 'error in 200', code: 'InternalError', done: false } : undefined;
      await assert.rejects(putBytes(store.content, describeBytes(bytes), bytes), {
        code: 'STORE_UNAVAILABLE' satisfies ErrorCode,
        retryable: true,
      });
      proxy.decide = () => undefined;
      assert.equal(await store.content.info(describeBytes(bytes).digest), undefined);
    }
  });
});

test('a server without conditions is asked without them; one with them keeps the first object', {
  timeout: 240_000,
}, async (t) => {
  await withBucket(t, async (config) => {
    await using proxy = await startHostileS3(config.endpoint ?? '');
    await using store = await openS3Store({ ...config, endpoint: proxy.endpoint });
    const conditional = () =>
      proxy.requests.filter(({ headers }) => headers['if-none-match'] !== undefined).length;
    proxy.decide = ({ headers }) =>
      headers['if-none-match'] === undefined
        ? undefined
        : { kind: 'error', status: 501, code: 'NotImplemented' };
    for (const size of [1000, 2000, 10 * MiB, 11 * MiB]) {
      const bytes = sampleBytes(size, `without ${size}`);
      assert.equal(await putBytes(store.content, describeBytes(bytes), bytes), 'committed');
      assert(bytes.equals(await collect(store.content.read(describeBytes(bytes).digest))));
    }
    assert.equal(conditional(), 2, 'once for each kind of call');
    // Another one, that has them: the writer that comes second finds the object of the first.
    await using other = await openS3Store({ ...config, endpoint: proxy.endpoint });
    proxy.decide = ({ headers }) =>
      headers['if-none-match'] === undefined
        ? undefined
        : { kind: 'error', status: 412, code: 'PreconditionFailed' };
    for (const size of [3000, 12 * MiB]) {
      const bytes = sampleBytes(size, `second ${size}`);
      assert.equal(await putBytes(other.content, describeBytes(bytes), bytes), 'exists');
    }
  });
});

test('large objects are read by some ranges at once, small ones by one request', {
  timeout: 240_000,
}, async (t) => {
  await withBucket(t, async (config) => {
    await using proxy = await startHostileS3(config.endpoint ?? '');
    await using store = await openS3Store({ ...config, endpoint: proxy.endpoint });
    const [large, small] = [sampleBytes(40 * MiB + 1, 'large'), sampleBytes(1000, 'small')];
    for (const bytes of [large, small]) await putBytes(store.content, describeBytes(bytes), bytes);
    proxy.requests.length = 0;
    let underWay = 0;
    let most = 0;
    proxy.decide = ({ method }) => {
      if (method === 'GET') {
        most = Math.max(most, ++underWay);
        setTimeout(() => underWay--, 200);
      }
      return { kind: 'slow', ms: 200 };
    };
    assert(small.equals(await collect(store.content.read(describeBytes(small).digest))));
    assert.equal(proxy.requests.length, 1);
    assert(large.equals(await collect(store.content.read(describeBytes(large).digest))));
    assert.equal(proxy.requests.length, 1 + 11);
    assert.ok(most >= 2, `${most} requests at once`);
    proxy.requests.length = 0;
    for await (const _ of store.content.read(describeBytes(large).digest)) break;
    assert.equal(proxy.requests.length, 1, 'who reads no further asks for no more');
  });
});

test('bytes that are torn on their way are no wrong blob, and stored ones are', {
  timeout: 240_000,
}, async (t) => {
  await withBucket(t, async (config) => {
    await using proxy = await startHostileS3(config.endpoint ?? '');
    await using store = await openS3Store({ ...config, endpoint: proxy.endpoint });
    const bytes = sampleBytes(3 * MiB, 'torn');
    const { digest } = describeBytes(bytes);
    await putBytes(store.content, describeBytes(bytes), bytes);
    let left = 1;
    proxy.decide = ({ method }) => (method === 'GET' && left-- > 0 ? { kind: 'torn' } : undefined);
    assert.equal(await store.content.verify(digest), 'right');
    assert.ok(left < 0);
    // What is torn on its way into the store is not stored.
    const other = sampleBytes(2 * MiB, 'torn in');
    proxy.decide = ({ method }) => (method === 'PUT' ? { kind: 'torn request' } : undefined);
    await assert.rejects(putBytes(store.content, describeBytes(other), other), {
      code: 'STORE_UNAVAILABLE' satisfies ErrorCode,
      retryable: true,
    });
    proxy.decide = () => undefined;
    assert.equal(await store.content.info(describeBytes(other).digest), undefined);
    // What somebody else wrote under the digest.
    const bucket = new Bucket(config);
    await bucket.put(new Keys(config.prefix).blob(digest), sampleBytes(3 * MiB, 'forged'), {});
    assert.equal(await store.content.verify(digest), 'wrong');
    assert.equal(await store.content.verify(digest), 'missing');
    const [aside] = await store.content.sweep({ olderThanMs: -5000, dryRun: true });
    assert.deepEqual(
      { ...aside, touchedAt: undefined },
      { kind: 'set aside', name: digest, bytes: 3 * MiB, touchedAt: undefined },
    );
    assert.equal(await putBytes(store.content, describeBytes(bytes), bytes), 'committed');
    assert.equal(await store.content.verify(digest), 'right');
    await store.content.sweep({ olderThanMs: -5000 });
    assert.deepEqual(await store.content.sweep({ olderThanMs: -5000 }), []);
    bucket.close();
  });
});

// Last: a new bucket waits for the dead gateway's watches to time out.
test('an outage is told, and what was stored is resumed after it', {
  timeout: 300_000,
}, async (t) => {
  await withBucket(t, async (config) => {
    await using store = await openS3Store(config);
    const bytes = sampleBytes(20 * MiB, 'outage');
    const descriptor = describeBytes(bytes);
    // One that is patient keeps its bytes meanwhile, and says so.
    const kept = sampleBytes(20 * MiB, 'kept');
    const waits: (string | undefined)[] = [];
    await using patient = await store.content.ingest(describeBytes(kept), {
      patientMs: 80_000,
      waiting: (why) => waits.push(why?.code),
    });
    let writing: Promise<string> | undefined;
    {
      await using ingest = await store.content.ingest(descriptor);
      await writeFrom(ingest, bytes, 0, 10 * MiB);
      await untilStored(store.content, descriptor, 8 * MiB);
      await server?.stopGateway();
      writing = writeFrom(patient, kept, 0).then(() => patient.commit());
      writing.catch(() => {});
      await assert.rejects(
        async () => {
          await writeFrom(ingest, bytes, 10 * MiB);
          await ingest.commit();
        },
        { code: 'STORE_UNAVAILABLE' satisfies ErrorCode, retryable: true },
      );
      await assert.rejects(store.content.info(descriptor.digest), {
        code: 'STORE_UNAVAILABLE' satisfies ErrorCode,
        message: new RegExp(`${config.bucket}.*${config.endpoint}`),
      });
    }
    await until('that it waits', () => waits.length > 0);
    await server?.startGateway();
    assert.equal(await writing, 'committed');
    assert.equal(waits[0], 'STORE_UNAVAILABLE');
    assert.equal(waits.at(-1), undefined);
    await using ingest = await store.content.ingest(descriptor);
    assert.equal(ingest.offset, 8 * MiB);
    await writeFrom(ingest, bytes, ingest.offset);
    assert.equal(await ingest.commit(), 'committed');
    assert(bytes.equals(await collect(store.content.read(descriptor.digest))));
  });
});
