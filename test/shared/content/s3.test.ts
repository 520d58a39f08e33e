import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { putBytes } from '../../../shared/content/blob.ts';
import type { StoreConfig } from '../../../shared/content/open.ts';
import { Bucket } from '../../../shared/content/s3/bucket.ts';
import { Keys } from '../../../shared/content/s3/keys.ts';
import { openS3Store } from '../../../shared/content/s3/store.ts';
import type { ErrorCode } from '../../../shared/errors.ts';
import { radosgwTools, startRadosgw, type TestRadosgw } from '../../support/radosgw.ts';
import { isInstalled, requireTool } from '../../support/requirements.ts';
import { storeConformance } from './conformance.ts';
import { collect, describeBytes, sampleBytes, toArray, writeFrom } from './sample.ts';

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
  return config === undefined ? undefined : { config, close: async () => {} };
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

test('a stream that breaks is continued where it was', { timeout: 60_000 }, async (t) => {
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
  timeout: 60_000,
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

test('parts that a reader relies on are those that it read', { timeout: 60_000 }, async (t) => {
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

test('multipart uploads that nobody completes are swept', { timeout: 60_000 }, async (t) => {
  await withBucket(t, async (config) => {
    await using store = await openS3Store(config);
    const bucket = new Bucket(config);
    const keys = new Keys(config.prefix);
    const { digest } = describeBytes(sampleBytes(10, 'upload'));
    await bucket.begin(keys.blob(digest), {});
    await store.content.sweep({ olderThanMs: 60_000 });
    assert.equal((await toArray(bucket.uploads(keys.blobs, {}))).length, 1);
    await store.content.sweep({ olderThanMs: -5000 });
    assert.deepEqual(await toArray(bucket.uploads(keys.blobs, {})), []);
    bucket.close();
  });
});

// Last: a new bucket waits for the dead gateway's watches to time out.
test('an outage is told, and what was stored is resumed after it', {
  timeout: 90_000,
}, async (t) => {
  await withBucket(t, async (config) => {
    await using store = await openS3Store(config);
    const bytes = sampleBytes(20 * MiB, 'outage');
    const descriptor = describeBytes(bytes);
    {
      await using ingest = await store.content.ingest(descriptor);
      await writeFrom(ingest, bytes, 0, 10 * MiB);
      await sleep(500);
      await server?.stopGateway();
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
    await server?.startGateway();
    await using ingest = await store.content.ingest(descriptor);
    assert.equal(ingest.offset, 8 * MiB);
    await writeFrom(ingest, bytes, ingest.offset);
    assert.equal(await ingest.commit(), 'committed');
    assert(bytes.equals(await collect(store.content.read(descriptor.digest))));
  });
});
