import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { parseReference } from '../../../../shared/image/reference.ts';
import { type FetchOptions, fetchBlob } from '../../../../worker/fleet/registry/fetch.ts';
import { startHostileRegistry } from '../../../support/hostile-registry.ts';
import { until } from '../../../support/until.ts';
import { createClient, descriptorOf, failure, MemorySink } from './support.ts';

const blob = randomBytes(300_000);
const descriptor = descriptorOf(blob);
const place = `/v2/a/b/blobs/${descriptor.digest}`;

async function setUp(t: TestContext) {
  const registry = await startHostileRegistry();
  t.after(() => registry.stop());
  const reference = parseReference(`${registry.host}/a/b`);
  const client = createClient(t);
  const sink = new MemorySink();
  const run = (options: Partial<FetchOptions> = {}) =>
    fetchBlob(client, reference, descriptor, sink, {
      signal: new AbortController().signal,
      backoffMs: 2,
      ...options,
    });
  const ranges = () => registry.requests.map(({ headers }) => headers.range);
  return { registry, sink, run, ranges };
}

/** Obeys ranges, and breaks the connection after so many bytes of each answer. */
function cutting(after: number, clean = false): RequestListener {
  return (request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const rest = blob.subarray(from);
    const headers = clean ? {} : { 'content-length': String(rest.length) };
    const range = { 'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}` };
    response.writeHead(from === 0 ? 200 : 206, from === 0 ? headers : { ...headers, ...range });
    if (rest.length <= after) response.end(rest);
    else if (clean) response.end(rest.subarray(0, after));
    else response.write(rest.subarray(0, after), () => setTimeout(() => response.destroy(), 10));
  };
}

describe('fetchBlob', () => {
  test('2. a body cut short: continues with a Range request from where it stopped', async (t) => {
    const { registry, sink, run, ranges } = await setUp(t);
    registry.on(place, cutting(100_000));
    const seen: number[] = [];
    await run({ onProgress: (offset) => seen.push(offset) });
    assert.ok(sink.bytes.equals(blob));
    assert.deepEqual(ranges(), [undefined, 'bytes=100000-', 'bytes=200000-']);
    assert.equal(sink.resets, 0);
    assert.equal(seen.at(-1), blob.length);
  });

  test('2. the same when the body ends early without a word', async (t) => {
    const { registry, sink, run } = await setUp(t);
    registry.on(place, cutting(100_000, true));
    await run();
    assert.ok(sink.bytes.equals(blob));
  });

  test('2. connections that bring nothing: a bounded number, then a clear failure', async (t) => {
    const { registry, sink, run, ranges } = await setUp(t);
    registry.on(place, (request, response) =>
      request.headers.range === undefined
        ? cutting(100_000)(request, response)
        : void response.destroy(),
    );
    await assert.rejects(
      run({ tries: 3 }),
      failure('REGISTRY_UNAVAILABLE', { retryable: true, message: /gave up after 3 connections/ }),
    );
    assert.equal(ranges().length, 4);
    assert.equal(sink.offset, 100_000, 'what came stays for the next one');
  });

  test('2. drops that come in ever new connections end, too', async (t) => {
    const { registry, run, ranges } = await setUp(t);
    registry.on(place, cutting(100));
    await assert.rejects(run({ tries: 4 }), failure('REGISTRY_UNAVAILABLE'));
    assert.equal(ranges().length, 4);
  });

  test("3. a Content-Length smaller than the descriptor's size: tried again, then refused", async (t) => {
    const { registry, sink, run, ranges } = await setUp(t);
    registry.serve(place, blob.subarray(1));
    await assert.rejects(run({ tries: 3 }), failure('SIZE_MISMATCH', { retryable: false }));
    assert.equal(ranges().length, 3);
    assert.equal(sink.offset, 0);
  });

  test('4. a larger one: tried again, and taken when it is right', async (t) => {
    const { registry, sink, run } = await setUp(t);
    let calls = 0;
    registry.on(
      place,
      (_request, response) => void response.end(++calls === 1 ? Buffer.concat([blob, blob]) : blob),
    );
    await run();
    assert.ok(sink.bytes.equals(blob));
  });

  test("5. an endless body: stops at the descriptor's size + 1", async (t) => {
    const { registry, sink, run, ranges } = await setUp(t);
    let closed = false;
    registry.on(place, (_request, response) => {
      response.writeHead(200);
      response.on('close', () => {
        closed = true;
      });
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384)));
      };
      response.on('drain', more);
      more();
    });
    await assert.rejects(
      run(),
      failure('SIZE_MISMATCH', { retryable: false, message: /more than the 300000 bytes/ }),
    );
    assert.equal(sink.offset, 0);
    assert.equal(ranges().length, 1);
    await until('that its connection is closed', () => closed);
  });

  test('6. a body that trickles: given up below a minimum rate, and resumed', async (t) => {
    const { registry, sink, run, ranges } = await setUp(t);
    registry.on(place, (request, response) => {
      if (request.headers.range !== undefined) return cutting(blob.length)(request, response);
      response.writeHead(200, { 'content-length': blob.length });
      let at = 0;
      const timer = setInterval(() => response.write(blob.subarray(at, ++at)), 10);
      response.on('close', () => clearInterval(timer));
    });
    await run({ minRate: { bytesPerSecond: 10_000, windowMs: 1_000 } });
    assert.ok(sink.bytes.equals(blob));
    assert.equal(ranges().length, 2);
    assert.match(ranges()[1] ?? '', /^bytes=[1-9]\d*-$/);
  });

  test('6. one that only trickles fails in the end, and says so', async (t) => {
    const { registry, run } = await setUp(t);
    registry.on(place, (_request, response) => {
      response.writeHead(200, { 'content-length': blob.length }).flushHeaders();
    });
    await assert.rejects(
      run({ tries: 2, minRate: { bytesPerSecond: 1000, windowMs: 100 } }),
      failure('REGISTRY_UNAVAILABLE', { retryable: true, message: /too slowly: 0 bytes/ }),
    );
  });

  test('6. a slow sink is not taken for a slow registry', async (t) => {
    const { registry, sink, run, ranges } = await setUp(t);
    registry.serve(place, blob);
    const write = sink.write.bind(sink);
    sink.write = async (chunk) => {
      if (sink.offset === 0) await new Promise((done) => setTimeout(done, 2_000));
      await write(chunk);
    };
    await run({ minRate: { bytesPerSecond: 100_000, windowMs: 1_000 } });
    assert.equal(ranges().length, 1);
  });

  test('6. one that takes its time to answer, and then does not trickle, is waited for', async (t) => {
    const { registry, sink, run } = await setUp(t);
    registry.on(place, (request, response) => {
      setTimeout(() => cutting(blob.length)(request, response), 1_000);
    });
    await run({ minRate: { bytesPerSecond: 1_000, windowMs: 500 } });
    assert.ok(sink.bytes.equals(blob));
  });

  test('a sink that is slow with the last bytes, too, is waited for', async (t) => {
    const { registry, sink, run, ranges } = await setUp(t);
    registry.serve(place, blob);
    const write = sink.write.bind(sink);
    sink.write = async (chunk) => {
      await new Promise((done) => setTimeout(done, 20));
      await write(chunk);
    };
    await run();
    assert.ok(sink.bytes.equals(blob));
    assert.equal(ranges().length, 1);
  });

  test('18. 5xx that flaps: tried again', async (t) => {
    const { registry, sink, run } = await setUp(t);
    let calls = 0;
    registry.on(place, (request, response) =>
      ++calls % 2 === 1 ? void response.writeHead(503).end() : cutting(100_000)(request, response),
    );
    await run();
    assert.ok(sink.bytes.equals(blob));
  });

  test('16. 429 is for the queue to wait out: not tried again here', async (t) => {
    const { registry, run, ranges } = await setUp(t);
    registry.on(
      place,
      (_request, response) => void response.writeHead(429, { 'retry-after': '3' }).end(),
    );
    await assert.rejects(run(), failure('RATE_LIMITED', { retryable: true }));
    assert.equal(ranges().length, 1);
  });

  test('19. 200 to a Range request: starts that blob again from zero', async (t) => {
    const { registry, sink, run, ranges } = await setUp(t);
    registry.on(place, (_request, response) => void response.end(blob));
    await sink.write(Buffer.from('left by another one'));
    await run();
    assert.ok(sink.bytes.equals(blob));
    assert.deepEqual(ranges(), ['bytes=19-']);
    assert.equal(sink.resets, 1);
  });

  test('19. 416: starts that blob again from zero', async (t) => {
    const { registry, sink, run, ranges } = await setUp(t);
    registry.on(place, (request, response) => {
      if (request.headers.range !== undefined) response.writeHead(416).end();
      else response.end(blob);
    });
    await sink.write(Buffer.from('left'));
    await run();
    assert.ok(sink.bytes.equals(blob));
    assert.deepEqual(ranges(), ['bytes=4-', undefined]);
  });

  for (const wrong of [
    `bytes 0-299999/300000`,
    `bytes 1001-299999/300000`,
    `bytes 1000-300000/300001`,
    `bytes 1000-299999/300001`,
    `bytes 1000-999/300000`,
    `bytes */300000`,
    `1000-299999`,
    '',
  ]) {
    test(`20. a wrong Content-Range: refused (${wrong || 'none'})`, async (t) => {
      const { registry, sink, run, ranges } = await setUp(t);
      registry.on(place, (_request, response) => {
        response
          .writeHead(206, wrong === '' ? {} : { 'content-range': wrong })
          .end(blob.subarray(1_000));
      });
      await sink.write(blob.subarray(0, 1_000));
      await assert.rejects(
        run(),
        failure('REGISTRY_PROTOCOL', { retryable: false, message: /Content-Range/ }),
      );
      assert.equal(ranges().length, 1);
      assert.equal(sink.offset, 1_000);
    });
  }

  test('20. a range that is shorter than asked for: continued', async (t) => {
    const { registry, sink, run } = await setUp(t);
    registry.on(place, (request, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const part = blob.subarray(from, from + 100_000);
      response
        .writeHead(206, { 'content-range': `bytes ${from}-${from + part.length - 1}/*` })
        .end(part);
    });
    await sink.write(blob.subarray(0, 1));
    await run();
    assert.ok(sink.bytes.equals(blob));
  });

  for (const [encoding, encoded] of [
    ['gzip', gzipSync(blob)],
    ['zstd', zstdCompressSync(blob)],
  ] as const) {
    test(`21. Content-Encoding ${encoding} on a blob: identity is asked for, and the decoded body is taken`, async (t) => {
      const { registry, sink, run } = await setUp(t);
      registry.serve(place, encoded, { 'content-encoding': encoding });
      await run();
      assert.ok(sink.bytes.equals(blob));
      assert.equal(registry.requests[0]?.headers['accept-encoding'], 'identity');
    });
  }

  test('21. an encoded body that unfolds without end: bounded', async (t) => {
    const { registry, sink, run } = await setUp(t);
    registry.serve(place, gzipSync(Buffer.alloc(50_000_000)), { 'content-encoding': 'gzip' });
    await assert.rejects(run(), failure('SIZE_MISMATCH', { retryable: false }));
    assert.equal(sink.offset, 0);
  });

  test('21. an encoded body that is cut starts again from zero', async (t) => {
    const { registry, sink, run } = await setUp(t);
    const encoded = gzipSync(blob);
    let calls = 0;
    registry.on(place, (request, response) => {
      if (++calls === 1) {
        response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': encoded.length });
        response.write(encoded.subarray(0, 200_000), () =>
          setTimeout(() => response.destroy(), 10),
        );
      } else if (request.headers.range !== undefined) {
        response
          .writeHead(206, { 'content-encoding': 'gzip', 'content-range': 'bytes 9-99/100' })
          .end('no use');
      } else {
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(encoded);
      }
    });
    await run();
    assert.ok(sink.bytes.equals(blob));
  });

  test('21. an unknown encoding: refused', async (t) => {
    const { registry, run } = await setUp(t);
    registry.serve(place, blob, { 'content-encoding': 'rot13' });
    await assert.rejects(run(), failure('REGISTRY_PROTOCOL', { message: /rot13/ }));
  });

  test('what is there whole already is not asked for', async (t) => {
    const { registry, sink, run } = await setUp(t);
    await sink.write(blob);
    await run();
    assert.equal(registry.requests.length, 0);
  });

  test('an error of the sink ends it at once', async (t) => {
    const { registry, sink, run, ranges } = await setUp(t);
    registry.serve(place, blob);
    const full = new Error('disk full');
    sink.write = () => Promise.reject(full);
    await assert.rejects(run(), (error) => error === full);
    assert.equal(ranges().length, 1);
  });

  test('a caller who stops gets his own reason, in mid-body and while it waits', async (t) => {
    const { registry, run } = await setUp(t);
    const reason = new Error('enough');
    const stopSoon = () => {
      const stop = new AbortController();
      setTimeout(() => stop.abort(reason), 50);
      return stop.signal;
    };
    registry.on(place, (_request, response) => {
      response.writeHead(200, { 'content-length': blob.length }).write('x');
    });
    await assert.rejects(run({ signal: stopSoon() }), (error) => error === reason);
    registry.on(place, (_request, response) => void response.writeHead(500).end());
    await assert.rejects(
      run({ signal: stopSoon(), backoffMs: 10_000 }),
      (error) => error === reason,
    );
  });
});
