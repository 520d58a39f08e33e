import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import { mediaTypes } from '../../../../shared/image/descriptor.ts';
import { digestOf } from '../../../../shared/image/digest.ts';
import { maxManifestBytes } from '../../../../shared/image/manifest.ts';
import { parseReference, type Reference } from '../../../../shared/image/reference.ts';
import { fetchBlob } from '../../../../worker/fleet/registry/fetch.ts';
import { type HostileRegistry, startHostileRegistry } from '../../../support/hostile-registry.ts';
import { registryUser, startRegistry } from '../../../support/registry.ts';
import { requireTool } from '../../../support/requirements.ts';
import { createClient, descriptorOf, failure, MemorySink } from './support.ts';

const { signal } = new AbortController();
const type = mediaTypes.ociManifest;
const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type }));
const digest = digestOf(bytes);

async function setUp(t: TestContext, options: Parameters<typeof createClient>[1] = {}) {
  const registry = await startHostileRegistry();
  t.after(() => registry.stop());
  const reference: Reference = parseReference(`${registry.host}/a/b:v1`);
  const client = createClient(t, options);
  return { registry, reference, client };
}

function serveManifest(registry: HostileRegistry, headers: Record<string, string>): void {
  registry.serve('/v2/a/b/manifests/v1', bytes, { 'content-type': type, ...headers });
}

describe("against Debian's docker-registry", () => {
  test('resolves by tag and by digest, describes, and fetches blobs, over plain http unasked', async (t) => {
    if (!requireTool(t, 'docker-registry')) return;
    await using registry = await startRegistry();
    const layer = Buffer.alloc(3_000_000, 'layer');
    const pushed = await registry.push('library/sample', 'v1', { layers: [layer] });
    const client = createClient(t);
    const reference = parseReference(`${registry.host}/library/sample:v1`);
    const byTag = await client.resolve(reference);
    assert.deepEqual(byTag.descriptor, pushed.manifest);
    assert.equal(digestOf(byTag.bytes), pushed.manifest.digest);
    const { registry: host, repository } = reference;
    const byDigest = await client.resolve({
      registry: host,
      repository,
      digest: pushed.manifest.digest,
    });
    assert.deepEqual(byDigest, byTag);
    assert.deepEqual(await client.head(reference), pushed.manifest);
    assert.deepEqual(await client.manifest(reference, pushed.manifest), byTag.bytes);
    assert.deepEqual(await client.describe(reference, pushed.manifest.digest), pushed.manifest);
    const [described] = pushed.layers;
    assert.ok(described);
    assert.equal((await client.describe(reference, described.digest)).size, layer.length);
    const sink = new MemorySink();
    await fetchBlob(client, reference, described, sink, { signal });
    assert.ok(sink.bytes.equals(layer));
    const log = await registry.accessLog();
    const gets = log.filter((e) => e.method === 'GET' && e.path.endsWith(described.digest));
    assert.deepEqual(
      gets.map(({ status, bytes }) => [status, bytes]),
      [[200, layer.length]],
    );
  });

  test('resumes a blob by Range from where the sink stands', async (t) => {
    if (!requireTool(t, 'docker-registry')) return;
    await using registry = await startRegistry();
    const layer = Buffer.from('0123456789'.repeat(1000));
    const descriptor = await registry.putBlob('a/b', layer);
    const sink = new MemorySink();
    await sink.write(layer.subarray(0, 4_000));
    const reference = parseReference(`${registry.host}/a/b`);
    await fetchBlob(createClient(t), reference, descriptor, sink, { signal });
    assert.ok(sink.bytes.equals(layer));
    const last = (await registry.accessLog()).at(-1);
    assert.deepEqual([last?.status, last?.bytes], [206, 6_000]);
  });

  test('says what the registry says of an unknown image, blob and object', async (t) => {
    if (!requireTool(t, 'docker-registry')) return;
    await using registry = await startRegistry();
    const client = createClient(t);
    const reference = parseReference(`${registry.host}/no/such:tag`);
    const message = /localhost:\d+ does not have localhost:\d+\/no\/such:tag: MANIFEST_UNKNOWN: /;
    await assert.rejects(
      client.resolve(reference),
      failure('IMAGE_UNKNOWN', { message, retryable: false }),
    );
    assert.equal(await client.head(reference), undefined);
    await assert.rejects(
      client.blob(reference, descriptorOf(bytes)),
      failure('BLOB_UNKNOWN', { retryable: false, message: /BLOB_UNKNOWN|NAME_UNKNOWN/ }),
    );
    await assert.rejects(client.describe(reference, digest), failure('BLOB_UNKNOWN'));
  });

  test('logs in by basic: without, with a wrong and with the right password', async (t) => {
    if (!requireTool(t, 'docker-registry')) return;
    await using registry = await startRegistry({ htpasswd: true });
    const pushed = await registry.push('private/x', 'v1', { layers: [bytes] });
    const reference = parseReference(`${registry.host}/private/x:v1`);
    await assert.rejects(
      createClient(t).resolve(reference),
      failure('UNAUTHORIZED', { hint: /dray login localhost:\d+/ }),
    );
    const wrong = createClient(t, {
      credentials: async () => ({ username: 'reader', password: 'canary-no' }),
    });
    await assert.rejects(wrong.resolve(reference), (error) => {
      failure('UNAUTHORIZED', { retryable: false })(error);
      assert.doesNotMatch(inspect(error, { depth: 9 }), /canary/);
      return true;
    });
    const right = createClient(t, { credentials: async () => registryUser });
    assert.deepEqual((await right.resolve(reference)).descriptor, pushed.manifest);
    const before = (await registry.accessLog()).length;
    await right.resolve(reference);
    assert.equal(
      (await registry.accessLog()).length,
      before + 1,
      'the second call logs in unasked',
    );
  });
});

describe('manifests', () => {
  test('a registry that is down: what was tried, where, and that it may pass', async (t) => {
    const { registry, reference, client } = await setUp(t);
    await registry.stop();
    await assert.rejects(
      client.resolve(reference),
      failure('REGISTRY_UNAVAILABLE', { retryable: true, message: /localhost:\d+ .*ECONNREFUSED/ }),
    );
  });

  test('a name that does not resolve', async (t) => {
    const client = createClient(t);
    await assert.rejects(
      client.resolve(parseReference('no-such-host.invalid/x')),
      failure('REGISTRY_UNAVAILABLE', { retryable: false, message: /no-such-host\.invalid/ }),
    );
  });

  test('22. a manifest over 4 MiB: refused, with the cap applied while reading', async (t) => {
    const { registry, reference, client } = await setUp(t);
    let sent = 0;
    registry.on('/v2/a/b/manifests/v1', (_request, response) => {
      response.writeHead(200, { 'content-type': type });
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) sent += 65_536;
      };
      response.on('drain', more);
      more();
    });
    await assert.rejects(
      client.resolve(reference),
      failure('MANIFEST_INVALID', { retryable: false }),
    );
    assert.ok(sent < 10 * maxManifestBytes);
    serveManifest(registry, { 'content-length': String(maxManifestBytes + 1) });
    await assert.rejects(client.resolve(reference), failure('MANIFEST_INVALID'));
  });

  test('22. the same for a compressed one that unfolds', async (t) => {
    const { registry, reference, client } = await setUp(t);
    const folded = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    registry.serve('/v2/a/b/manifests/v1', folded, {
      'content-encoding': 'gzip',
      'content-type': type,
    });
    await assert.rejects(client.resolve(reference), failure('MANIFEST_INVALID'));
  });

  test('23. a Docker-Content-Digest that differs from the bytes: refused', async (t) => {
    const { registry, reference, client } = await setUp(t);
    serveManifest(registry, { 'docker-content-digest': digestOf('other') });
    await assert.rejects(
      client.resolve(reference),
      failure('DIGEST_MISMATCH', { retryable: false }),
    );
    serveManifest(registry, { 'docker-content-digest': digestOf(bytes, 'sha512') });
    assert.equal(
      (await client.resolve(reference)).descriptor.digest,
      digest,
      '31. sha512: accepted',
    );
  });

  test('32. unknown or malformed digests: refused before they reach a path or a key', async (t) => {
    const { registry, reference, client } = await setUp(t);
    for (const text of ['md5:00', 'sha256:../../etc/passwd', digest.toUpperCase()]) {
      serveManifest(registry, { 'docker-content-digest': text });
      await assert.rejects(
        client.resolve(reference),
        failure('REGISTRY_PROTOCOL', { retryable: false }),
      );
      await assert.rejects(client.head(reference), failure('REGISTRY_PROTOCOL'));
    }
    const forged = { ...descriptorOf(bytes), digest: '../../x' as typeof digest };
    const before = registry.requests.length;
    await assert.rejects(client.blob(reference, forged), failure('DIGEST_INVALID'));
    assert.equal(registry.requests.length, before);
  });

  test('a reference by digest that gets other bytes: refused', async (t) => {
    const { registry, reference, client } = await setUp(t);
    const other = digestOf('other');
    registry.serve(`/v2/a/b/manifests/${other}`, bytes, { 'content-type': type });
    await assert.rejects(
      client.resolve({ ...reference, digest: other }),
      failure('DIGEST_MISMATCH'),
    );
  });

  test('30. a size that is wrong: refused', async (t) => {
    const { registry, reference, client } = await setUp(t);
    registry.serve(`/v2/a/b/manifests/${digest}`, bytes, { 'content-type': type });
    const descriptor = descriptorOf(bytes, type);
    assert.ok((await client.manifest(reference, descriptor)).equals(bytes));
    await assert.rejects(
      client.manifest(reference, { ...descriptor, size: descriptor.size + 1 }),
      failure('SIZE_MISMATCH', { retryable: false }),
    );
    await assert.rejects(
      client.manifest(reference, { ...descriptor, size: maxManifestBytes + 1 }),
      failure('MANIFEST_INVALID'),
    );
  });

  test('31. sha512 digests: accepted', async (t) => {
    const { registry, reference, client } = await setUp(t);
    const sha512 = digestOf(bytes, 'sha512');
    registry.serve(`/v2/a/b/manifests/${sha512}`, bytes, { 'content-type': type });
    const { descriptor } = await client.resolve({ ...reference, digest: sha512 });
    assert.equal(descriptor.digest, sha512);
  });

  test('no Content-Type: refused; parameters and case of it do not count', async (t) => {
    const { registry, reference, client } = await setUp(t);
    registry.serve('/v2/a/b/manifests/v1', bytes);
    await assert.rejects(client.resolve(reference), failure('REGISTRY_PROTOCOL'));
    serveManifest(registry, { 'content-type': `${type.toUpperCase()}; charset=utf-8` });
    assert.equal((await client.resolve(reference)).descriptor.mediaType, type);
  });

  test('a HEAD that leaves out the digest: the manifest itself says it', async (t) => {
    const { registry, reference, client } = await setUp(t);
    serveManifest(registry, {});
    assert.deepEqual(await client.head(reference), descriptorOf(bytes, type));
  });

  test('18. 5xx that flaps: tried again, then a clear failure', async (t) => {
    const { registry, reference, client } = await setUp(t, { limits: { tries: 3 } });
    let calls = 0;
    registry.on('/v2/a/b/manifests/v1', (_request, response) => {
      if (++calls < 3) response.writeHead(502).end();
      else response.writeHead(200, { 'content-type': type }).end(bytes);
    });
    assert.equal((await client.resolve(reference)).descriptor.digest, digest);
    calls = -100;
    await assert.rejects(
      client.resolve(reference),
      failure('REGISTRY_UNAVAILABLE', { retryable: true, message: /502/ }),
    );
    assert.equal(calls, -97);
  });

  const inTenMinutes = () => new Date(Date.now() + 600_000).toUTCString();
  for (const [header, least, most] of [
    ['7', 7_000, 7_000],
    [inTenMinutes, 500_000, 600_000],
    ['Thu, 01 Jan 1970 00:00:00 GMT', 1_000, 1_000],
    ['999999999', 900_000, 900_000],
    ['tomorrow', 10_000, 10_000],
  ] as const) {
    test(`16, 17. 429 with Retry-After "${typeof header === 'string' ? header : 'a date to come'}": said in the error, and not waited for here`, async (t) => {
      const { registry, reference, client } = await setUp(t);
      registry.on('/v2/a/b/manifests/v1', (_request, response) => {
        const after = typeof header === 'string' ? header : header();
        response
          .writeHead(429, { 'retry-after': after, 'content-type': 'application/json' })
          .end('{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}');
      });
      await assert.rejects(client.resolve(reference), (error) => {
        failure('RATE_LIMITED', { retryable: true, message: /TOOMANYREQUESTS: slow down/ })(error);
        const { retryAfterMs } = (error as { context: { retryAfterMs: number } }).context;
        return retryAfterMs >= least && retryAfterMs <= most;
      });
      assert.equal(registry.requests.length, 1);
    });
  }

  test('403: the registry’s own words, as one short line', async (t) => {
    const { registry, reference, client } = await setUp(t);
    const long = `no\u001b[31m\n${'x'.repeat(100_000)}`;
    registry.on('/v2/a/b/manifests/v1', (_request, response) => {
      response
        .writeHead(403)
        .end(JSON.stringify({ errors: [{ code: 'DENIED', message: long.slice(0, 5000) }] }));
    });
    await assert.rejects(client.resolve(reference), (error) => {
      failure('DENIED', { retryable: false, message: /DENIED: no \[31m x+…/ })(error);
      return (error as Error).message.length < 1000;
    });
  });

  test('an endless error body is cut', async (t) => {
    const { registry, reference, client } = await setUp(t);
    registry.on('/v2/a/b/manifests/v1', (_request, response) => {
      response.writeHead(404);
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      };
      response.on('drain', more);
      more();
    });
    await assert.rejects(client.resolve(reference), failure('IMAGE_UNKNOWN'));
  });

  test('a caller who stops gets his own reason', async (t) => {
    const { registry, reference, client } = await setUp(t);
    registry.on('/v2/a/b/manifests/v1', () => {});
    const stop = new AbortController();
    const reason = new Error('enough');
    setTimeout(() => stop.abort(reason), 50);
    await assert.rejects(client.resolve(reference, { signal: stop.signal }), (e) => e === reason);
  });
});
