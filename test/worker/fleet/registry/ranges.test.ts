import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import { parseReference } from '../../../../shared/image/reference.ts';
import { type FetchOptions, fetchBlob } from '../../../../worker/fleet/registry/fetch.ts';
import { startHostileRegistry } from '../../../support/hostile-registry.ts';
import { until } from '../../../support/until.ts';
import { createClient, descriptorOf, failure, MemorySink } from './support.ts';

const blob = randomBytes(1_000_000);
const descriptor = descriptorOf(blob);
const place = `/v2/a/b/blobs/${descriptor.digest}`;
const parts = { from: 500_000, size: 100_000, enough: Number.POSITIVE_INFINITY };

async function setUp(t: TestContext) {
  const registry = await startHostileRegistry();
  t.after(() => registry.stop());
  const reference = parseReference(`${registry.host}/a/b`);
  const client = createClient(t);
  const fetchInto = (sink: MemorySink, options: Partial<FetchOptions> = {}) =>
    fetchBlob(client, reference, descriptor, sink, {
      signal: new AbortController().signal,
      backoffMs: 2,
      parts,
      ...options,
    });
  const ranges = () => registry.requests.map(({ headers }) => headers.range);
  return { registry, client, fetchInto, ranges };
}

/** First byte, and the byte after the last one, that are asked for. */
function askedOf(request: IncomingMessage): [number, number] {
  const [, from = '0', last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  return [Number(from), last ? Number(last) + 1 : blob.length];
}

function answerRange(request: IncomingMessage, response: ServerResponse): void {
  const [from, end] = askedOf(request);
  response
    .writeHead(206, {
      'content-length': end - from,
      'content-range': `bytes ${from}-${end - 1}/${blob.length}`,
    })
    .end(blob.subarray(from, end));
}

describe('a large blob in parts', () => {
  test('some connections at once bring each byte once, and the sink gets them in order', async (t) => {
    const { registry, fetchInto, ranges } = await setUp(t);
    let open = 0;
    let most = 0;
    const three = Promise.withResolvers<void>();
    registry.on(place, async (request, response) => {
      most = Math.max(most, ++open);
      response.on('close', () => open--);
      if (most === 3) three.resolve();
      // The first shows how the registry takes ranges.
      if (askedOf(request)[0] > 0) await three.promise;
      // The later ones are the faster ones.
      setTimeout(() => answerRange(request, response), 60 - askedOf(request)[0] / 20_000);
    });
    const sink = new MemorySink();
    const seen: number[] = [];
    await fetchInto(sink, { onProgress: (offset) => seen.push(offset) });
    assert.ok(sink.bytes.equals(blob));
    assert.equal(most, 3);
    assert.equal(ranges().length, 10);
    assert.equal(new Set(ranges()).size, 10);
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    );
  });

  test('one connection is left alone when it brings enough', async (t) => {
    const { registry, fetchInto, ranges } = await setUp(t);
    registry.on(place, answerRange);
    const sink = new MemorySink();
    await fetchInto(sink, { parts: { ...parts, enough: 1 } });
    assert.ok(sink.bytes.equals(blob));
    assert.deepEqual(ranges(), ['bytes=0-99999', 'bytes=100000-']);
  });

  test('what comes first is handed on before its part is whole', async (t) => {
    const { registry, fetchInto } = await setUp(t);
    const begun = Promise.withResolvers<void>();
    registry.on(place, async (request, response) => {
      const [from, end] = askedOf(request);
      if (from !== 0) return answerRange(request, response);
      response.writeHead(206, { 'content-range': `bytes 0-${end - 1}/${blob.length}` });
      response.write(blob.subarray(0, 1000));
      await begun.promise;
      response.end(blob.subarray(1000, end));
    });
    const sink = new MemorySink();
    await fetchInto(sink, { onProgress: () => begun.resolve() });
    assert.ok(sink.bytes.equals(blob));
  });

  test('a part whose connection breaks goes on where it stopped, and the others stay', async (t) => {
    const { registry, fetchInto, ranges } = await setUp(t);
    registry.on(place, (request, response) => {
      const [from, end] = askedOf(request);
      if (from % 100_000 !== 0 || from % 200_000 === 0) return answerRange(request, response);
      response.writeHead(206, {
        'content-length': end - from,
        'content-range': `bytes ${from}-${end - 1}/${blob.length}`,
      });
      response.write(blob.subarray(from, from + 70_000), () =>
        setTimeout(() => response.destroy(), 10),
      );
    });
    const sink = new MemorySink();
    await fetchInto(sink);
    assert.ok(sink.bytes.equals(blob));
    assert.equal(sink.resets, 0);
    const again = ranges().filter((range) => /^bytes=\d70000-/.test(range ?? ''));
    assert.equal(again.length, 5);
    assert.equal(ranges().length, 15);
  });

  test('a token that expires in mid-blob is renewed', async (t) => {
    const { registry, fetchInto, ranges } = await setUp(t);
    let tokens = 0;
    let uses = 0;
    registry.on('/token', (_request, response) => {
      tokens++;
      uses = 0;
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ token: `t${tokens}`, expires_in: 300 }));
    });
    registry.on(place, (request, response) => {
      if (request.headers.authorization === `Bearer t${tokens}` && ++uses <= 4) {
        return answerRange(request, response);
      }
      const challenge = `Bearer realm="${registry.origin}/token",service="s",scope="repository:a/b:pull"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    });
    const sink = new MemorySink();
    await fetchInto(sink);
    assert.ok(sink.bytes.equals(blob));
    assert.equal(sink.resets, 0);
    assert.ok(tokens >= 3, `${tokens} tokens`);
    const whole = registry.requests.filter(({ path }) => path.startsWith('/v2/')).length;
    assert.ok(ranges().length >= 10 && whole <= 10 + 4 * tokens, `${whole} requests`);
  });

  test('a registry that ignores ranges: the first answer is used, and it is not asked again', async (t) => {
    const { registry, fetchInto, ranges } = await setUp(t);
    registry.on(place, (_request, response) => void response.end(blob));
    for (let n = 0; n < 2; n++) {
      const sink = new MemorySink();
      await fetchInto(sink);
      assert.ok(sink.bytes.equals(blob));
      assert.equal(sink.resets, 0);
    }
    assert.deepEqual(ranges(), ['bytes=0-99999', undefined]);
  });

  for (const wrong of ['', 'bytes 1-100000/1000000', 'bytes 0-199999/1000000', 'bytes 0-99999/7']) {
    test(`a wrong Content-Range (${wrong || 'none'}): one connection, then and later`, async (t) => {
      const { registry, fetchInto, ranges } = await setUp(t);
      registry.on(place, (request, response) => {
        if (request.headers.range === undefined) return void response.end(blob);
        response
          .writeHead(206, wrong === '' ? {} : { 'content-range': wrong })
          .end(blob.subarray(0, 100_000));
      });
      for (let n = 0; n < 2; n++) {
        const sink = new MemorySink();
        await fetchInto(sink);
        assert.ok(sink.bytes.equals(blob));
      }
      assert.deepEqual(ranges(), ['bytes=0-99999', undefined, undefined]);
    });
  }

  test('a registry that stops to answer ranges in the middle', async (t) => {
    const { registry, fetchInto, ranges } = await setUp(t);
    registry.on(place, (request, response) => {
      if (askedOf(request)[0] < 300_000) answerRange(request, response);
      else response.end(blob);
    });
    const sink = new MemorySink();
    await fetchInto(sink);
    assert.ok(sink.bytes.equals(blob));
    assert.equal(ranges().at(-1), 'bytes=300000-');
    assert.equal(sink.resets, 1);
  });

  test('a limit that is met in the middle: nothing more is asked, and what came stays', async (t) => {
    const { registry, fetchInto, ranges } = await setUp(t);
    registry.on(place, (request, response) => {
      // Connections overtake each other: not by their number.
      const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      if (from < 300_000) answerRange(request, response);
      else response.writeHead(429, { 'retry-after': '3' }).end();
    });
    const sink = new MemorySink();
    await assert.rejects(fetchInto(sink), failure('RATE_LIMITED', { retryable: true }));
    assert.equal(sink.offset, 300_000);
    await new Promise((done) => setTimeout(done, 50));
    const asked = ranges().length;
    assert.ok(asked <= 6, `${asked} requests`);
    registry.on(place, answerRange);
    await fetchInto(sink);
    assert.ok(sink.bytes.equals(blob));
    assert.deepEqual(ranges().slice(asked), ['bytes=300000-']);
  });

  test('a caller who stops, and a sink that fails, end all connections', async (t) => {
    const { registry, fetchInto } = await setUp(t);
    let open = 0;
    registry.on(place, (request, response) => {
      open++;
      response.on('close', () => open--);
      if (askedOf(request)[0] < 200_000) return answerRange(request, response);
      const [from, end] = askedOf(request);
      response.writeHead(206, { 'content-range': `bytes ${from}-${end - 1}/${blob.length}` });
      response.write('x');
    });
    const reason = new Error('enough');
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 100);
    await assert.rejects(
      fetchInto(new MemorySink(), { signal: stop.signal }),
      (error) => error === reason,
    );
    const full = new Error('disk full');
    const sink = new MemorySink();
    const write = sink.write.bind(sink);
    sink.write = async (chunk) => {
      if (sink.offset >= 150_000) throw full;
      await write(chunk);
    };
    await assert.rejects(fetchInto(sink), (error) => error === full);
    await until(
      () => `no connection, and not ${open}`,
      () => open === 0,
    );
  });

  test('many blobs at once share the connections that there are', async (t) => {
    const { registry, fetchInto } = await setUp(t);
    let open = 0;
    let most = 0;
    registry.on(place, (request, response) => {
      most = Math.max(most, ++open);
      response.on('close', () => open--);
      setTimeout(() => {
        if (request.headers.range === undefined) response.end(blob);
        else answerRange(request, response);
      }, 10);
    });
    const sinks = Array.from({ length: 5 }, () => new MemorySink());
    await Promise.all(sinks.map((sink) => fetchInto(sink)));
    for (const sink of sinks) assert.ok(sink.bytes.equals(blob));
    assert.ok(most <= 5 + 4, `${most} at once`);
  });
});
