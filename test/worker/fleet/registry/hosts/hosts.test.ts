import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { mediaTypes } from '../../../../../shared/image/descriptor.ts';
import { digestOf } from '../../../../../shared/image/digest.ts';
import { parseReference } from '../../../../../shared/image/reference.ts';
import { fetchBlob } from '../../../../../worker/fleet/registry/fetch.ts';
import { makeAuthority } from '../../../../support/authority.ts';
import { startHostileRegistry } from '../../../../support/hostile-registry.ts';
import { registryUser, startRegistry, type TestRegistry } from '../../../../support/registry.ts';
import { requireTool } from '../../../../support/requirements.ts';
import { createClient, descriptorOf, failure, MemorySink, testNames } from '../support.ts';

const { signal } = new AbortController();
const layer = Buffer.from('some bytes of a layer '.repeat(1000));

async function setUp(t: TestContext) {
  const root = await mkdtemp(path.join(tmpdir(), 'dray-certs.d-'));
  t.after(() => rm(root, { recursive: true }));
  const write = async (place: string, content: string) => {
    const file = path.join(root, place);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, content);
  };
  return { root, write, options: { hostsFolders: [path.join(root, 'absent'), root] } };
}

/** What was read from it, but for the call with which the test waited for its start. */
const paths = async (registry: TestRegistry) =>
  (await registry.accessLog())
    .filter((entry) => entry.method === 'GET' && entry.path !== '/v2/')
    .map(({ method, path: asked, status }) => `${method} ${asked} ${status}`);
const closed = (port: number) => `http://localhost:${port}`;

describe('mirrors', () => {
  test('a pull-through cache is asked first, with ns, and has the blob then', async (t) => {
    if (!requireTool(t, 'docker-registry')) return;
    await using origin = await startRegistry();
    await using mirror = await startRegistry({ cacheOf: `http://${origin.host}` });
    const pushed = await origin.push('a/b', 'v1', { layers: [layer] });
    const { write, options } = await setUp(t);
    await write(`${origin.host}/hosts.toml`, `[host."http://${mirror.host}"]`);
    const client = createClient(t, options);
    const reference = parseReference(`${origin.host}/a/b:v1`);
    assert.deepEqual((await client.resolve(reference)).descriptor, pushed.manifest);
    const [blob] = pushed.layers;
    assert.ok(blob);
    const sink = new MemorySink();
    await fetchBlob(client, reference, blob, sink, { signal });
    assert.ok(sink.bytes.equals(layer));
    const ns = encodeURIComponent(origin.host);
    assert.deepEqual(await paths(mirror), [
      `GET /v2/a/b/manifests/v1?ns=${ns} 200`,
      `GET /v2/a/b/blobs/${blob.digest}?ns=${ns} 200`,
    ]);
    await origin.stop();
    await fetchBlob(client, reference, blob, new MemorySink(), { signal });
  });

  test('in their order, by what they can do; what one lacks, the next may have', async (t) => {
    if (!requireTool(t, 'docker-registry')) return;
    await using origin = await startRegistry();
    await using empty = await startRegistry();
    await using copy = await startRegistry();
    const pushed = await origin.push('a/b', 'v1', { layers: [layer] });
    await copy.push('a/b', 'v1', { layers: [layer] });
    const { write, options } = await setUp(t);
    await write(
      `_default/hosts.toml`,
      `[host."http://${empty.host}"]
       [host."http://${copy.host}"]
       capabilities = ["pull"]`,
    );
    const client = createClient(t, options);
    const reference = parseReference(`${origin.host}/a/b:v1`);
    assert.deepEqual((await client.resolve(reference)).descriptor, pushed.manifest);
    const ns = encodeURIComponent(origin.host);
    const asked = `GET /v2/a/b/manifests/v1?ns=${ns}`;
    assert.deepEqual(await paths(empty), [`${asked} 404`]);
    assert.deepEqual(await paths(copy), [], 'it must not say what a tag is');
    assert.equal((await paths(origin)).at(-1), 'GET /v2/a/b/manifests/v1 200');
    const { digest } = pushed.manifest;
    await client.resolve({ ...reference, digest });
    assert.equal((await paths(copy)).at(-1), `GET /v2/a/b/manifests/${digest}?ns=${ns} 200`);
    await client.resolve(reference, { mirrors: false });
    assert.equal((await paths(empty)).length, 2, 'a mirror was asked');
  });

  test('one that is down is passed over, and rests; the error names what was tried', async (t) => {
    if (!requireTool(t, 'docker-registry')) return;
    await using origin = await startRegistry();
    const pushed = await origin.push('a/b', 'v1', { layers: [layer] });
    const { write, options } = await setUp(t);
    await write(`${origin.host}/hosts.toml`, `[host."${closed(1)}"]`);
    const client = createClient(t, options);
    const reference = parseReference(`${origin.host}/a/b:v1`);
    assert.deepEqual((await client.resolve(reference)).descriptor, pushed.manifest);
    await assert.rejects(
      client.resolve({ ...reference, tag: 'absent' }),
      failure('IMAGE_UNKNOWN', {
        retryable: false,
        message: /MANIFEST_UNKNOWN.*\(before that, the mirror localhost:1 said: .*ECONNREFUSED/,
      }),
    );
    await origin.stop();
    await assert.rejects(
      client.resolve(reference),
      failure('REGISTRY_UNAVAILABLE', { retryable: true, message: /before that, the mirror/ }),
    );
  });

  test('a mirror whose connections keep breaking in the middle of a blob is passed over', async (t) => {
    const [origin, mirror] = await Promise.all([startHostileRegistry(), startHostileRegistry()]);
    t.after(() => Promise.all([origin.stop(), mirror.stop()]));
    const descriptor = descriptorOf(layer);
    const place = `/v2/a/b/blobs/${descriptor.digest}`;
    origin.serve(place, layer);
    mirror.on(place, (_request, response) => {
      response.writeHead(200, { 'content-length': layer.length });
      response.write(layer.subarray(0, 10), () => response.destroy());
    });
    const { write, options } = await setUp(t);
    await write(`${origin.host}/hosts.toml`, `[host."${mirror.origin}"]`);
    const sink = new MemorySink();
    const reference = parseReference(`${origin.host}/a/b`);
    await fetchBlob(createClient(t, options), reference, descriptor, sink, {
      signal,
      backoffMs: 5,
    });
    assert.ok(sink.bytes.equals(layer));
    assert.equal(mirror.requests.length, 2);
    assert.equal(origin.requests.length, 1);
  });

  test('a mirror that lies about a manifest is passed over', async (t) => {
    const [origin, mirror] = await Promise.all([startHostileRegistry(), startHostileRegistry()]);
    t.after(() => Promise.all([origin.stop(), mirror.stop()]));
    const bytes = Buffer.from('{}');
    const digest = digestOf(bytes);
    const type = { 'content-type': mediaTypes.ociManifest };
    origin.serve(`/v2/a/b/manifests/${digest}`, bytes, type);
    mirror.serve(`/v2/a/b/manifests/${digest}`, Buffer.from('[]'), type);
    const { write, options } = await setUp(t);
    await write(`${origin.host}/hosts.toml`, `[host."${mirror.origin}"]`);
    const reference = parseReference(`${origin.host}/a/b@${digest}`);
    assert.ok((await createClient(t, options).resolve(reference)).bytes.equals(bytes));
    assert.equal(mirror.requests.length, 1);
  });

  test('a mirror gets its own login, not that of the registry', async (t) => {
    if (!requireTool(t, 'docker-registry')) return;
    await using origin = await startRegistry();
    await using mirror = await startRegistry({ htpasswd: true });
    const pushed = await mirror.push('a/b', 'v1', { layers: [layer] });
    const { write, options } = await setUp(t);
    await write(`${origin.host}/hosts.toml`, `[host."http://${mirror.host}"]`);
    const asked: string[] = [];
    const client = createClient(t, {
      ...options,
      credentials: async ({ registry }) => {
        asked.push(registry);
        return registry === mirror.host ? registryUser : undefined;
      },
    });
    const { descriptor } = await client.resolve(parseReference(`${origin.host}/a/b:v1`));
    assert.deepEqual(descriptor, pushed.manifest);
    assert.deepEqual([...new Set(asked)], [mirror.host]);
  });

  test('headers and override_path; neither headers nor a login go where it redirects to', async (t) => {
    const [server, elsewhere] = await Promise.all([startHostileRegistry(), startHostileRegistry()]);
    t.after(() => Promise.all([server.stop(), elsewhere.stop()]));
    const descriptor = descriptorOf(layer);
    elsewhere.serve('/data', layer);
    server.on(`/proxy/api/a/b/blobs/${descriptor.digest}`, (_request, response) => {
      response.writeHead(307, { location: `${elsewhere.origin}/data` }).end();
    });
    const { write, options } = await setUp(t);
    await write(
      'r.test_5000_/hosts.toml',
      `[host."${server.origin}/proxy/api/"]
       override_path = true
       [host."${server.origin}/proxy/api/".header]
       x-key = ["canary", "two"]
       user-agent = "other"`,
    );
    const sink = new MemorySink();
    const reference = parseReference('r.test:5000/a/b');
    await fetchBlob(createClient(t, options), reference, descriptor, sink, { signal });
    assert.ok(sink.bytes.equals(layer));
    const [first] = server.requests;
    assert.match(first?.path ?? '', /\?ns=r\.test%3A5000$/);
    assert.equal(first?.headers['x-key'], 'canary, two');
    assert.equal(elsewhere.requests[0]?.headers['x-key'], undefined);
  });

  test('a changed hosts.toml counts at once; a broken one is named', async (t) => {
    const [one, two] = await Promise.all([startHostileRegistry(), startHostileRegistry()]);
    t.after(() => Promise.all([one.stop(), two.stop()]));
    const { root, write, options } = await setUp(t);
    const client = createClient(t, options);
    const reference = parseReference('r.test/a/b:v1');
    for (const server of [one, two]) {
      server.serve('/v2/a/b/manifests/v1', layer, { 'content-type': mediaTypes.ociManifest });
      await write('r.test/hosts.toml', `server = "${server.origin}"`);
      await client.resolve(reference);
      assert.equal(server.requests.length, 1);
    }
    await write('r.test/hosts.toml', 'server = [');
    await assert.rejects(client.resolve(reference), failure('USAGE', { message: /hosts\.toml/ }));
    await write('r.test/hosts.toml', 'ca = "gone.pem"');
    await assert.rejects(client.resolve(reference), failure('USAGE', { message: /gone\.pem/ }));
    await rm(path.join(root, 'r.test'), { recursive: true });
    const lookup = testNames(() => '169.254.1.1');
    await assert.rejects(
      createClient(t, { ...options, lookup }).resolve(reference),
      failure('ADDRESS_REFUSED'),
    );
  });

  test('a mirror may stand at a private address, but not at a link-local one', async (t) => {
    const server = await startHostileRegistry();
    t.after(() => server.stop());
    server.serve('/v2/a/b/manifests/v1', layer, { 'content-type': mediaTypes.ociManifest });
    const { write, options } = await setUp(t);
    const mirror = `http://mirror.test:${server.port}`;
    await write('r.test/hosts.toml', `server = "${mirror}"`);
    const reference = parseReference('r.test/a/b:v1');
    const at = (address: string) =>
      createClient(t, { ...options, lookup: testNames(() => address) });
    await at('127.0.0.1').resolve(reference);
    await assert.rejects(at('169.254.169.254').resolve(reference), failure('ADDRESS_REFUSED'));
  });

  test('hosts without the capability to pull leave nothing to ask', async (t) => {
    const { write, options } = await setUp(t);
    await write('r.test/hosts.toml', 'server = "https://r.test"\ncapabilities = ["push"]');
    await assert.rejects(
      createClient(t, options).resolve(parseReference('r.test/a/b:v1')),
      failure('DENIED', { hint: /hosts\.toml/ }),
    );
  });
});

describe('certificates', () => {
  test('an authority of its own, skip_verify, and a changed file', async (t) => {
    if (!requireTool(t, 'docker-registry', 'openssl')) return;
    await using authority = await makeAuthority('dray tests');
    await using other = await makeAuthority('another');
    const tls = await authority.issue('localhost', ['DNS:localhost']);
    await using registry = await startRegistry({ tls: { ...tls, ca: authority.certificate } });
    const pushed = await registry.push('a/b', 'v1', { layers: [layer] });
    const { root, write, options } = await setUp(t);
    const client = createClient(t, options);
    const reference = parseReference(`${registry.host}/a/b:v1`);
    const resolve = async () => (await client.resolve(reference)).descriptor;
    const untrusted = failure('REGISTRY_UNAVAILABLE', {
      retryable: false,
      message: /not trusted/,
      hint: /hosts\.toml/,
    });
    await assert.rejects(resolve(), untrusted);
    await write(`${registry.host}/ca.pem`, other.certificate);
    await write(`${registry.host}/hosts.toml`, 'ca = "ca.pem"');
    await assert.rejects(resolve(), untrusted);
    await write(`${registry.host}/ca.pem`, authority.certificate);
    assert.deepEqual(await resolve(), pushed.manifest);
    await write(`${registry.host}/hosts.toml`, 'skip_verify = true');
    assert.deepEqual(await resolve(), pushed.manifest);
    await write(`${registry.host}/hosts.toml`, '');
    await assert.rejects(resolve(), untrusted);
    await rm(path.join(root, registry.host, 'hosts.toml'));
    await write(`${registry.host}/authority.crt`, authority.certificate);
    assert.deepEqual(await resolve(), pushed.manifest, "Docker's layout");
  });

  test('a certificate of ours, in both forms, and none', async (t) => {
    if (!requireTool(t, 'docker-registry', 'openssl')) return;
    await using authority = await makeAuthority('dray tests');
    const own = await authority.issue('dray');
    await using registry = await startRegistry({
      tls: {
        ...(await authority.issue('localhost', ['DNS:localhost'])),
        ca: authority.certificate,
        clients: { ca: authority.certificate, ...own },
      },
    });
    const pushed = await registry.push('a/b', 'v1', { layers: [layer] });
    const { write, options } = await setUp(t);
    const client = createClient(t, options);
    const reference = parseReference(`${registry.host}/a/b:v1`);
    const folder = registry.host;
    await write(`${folder}/ca.pem`, authority.certificate);
    await write(`${folder}/own.cert`, own.certificate);
    await write(`${folder}/own.key`, own.key);
    await write(`${folder}/both.pem`, own.certificate + own.key);
    for (const line of ['client = [["own.cert", "own.key"]]', 'client = "both.pem"']) {
      await write(`${folder}/hosts.toml`, `ca = "ca.pem"\n${line}`);
      assert.deepEqual((await client.resolve(reference)).descriptor, pushed.manifest);
    }
    await write(`${folder}/hosts.toml`, 'ca = "ca.pem"');
    await assert.rejects(
      client.resolve(reference),
      failure('REGISTRY_UNAVAILABLE', { hint: /certificate of ours.*client/ }),
    );
  });
});
