import assert from 'node:assert/strict';
import { before, describe, type TestContext, test } from 'node:test';
import { parseReference } from '../../../../shared/image/reference.ts';
import { fetchBlob } from '../../../../worker/fleet/registry/fetch.ts';
import {
  type Certificate,
  makeCertificate,
  startHostileRegistry,
} from '../../../support/hostile-registry.ts';
import { createClient, descriptorOf, failure, MemorySink, testNames } from './support.ts';

const { signal } = new AbortController();
const blob = Buffer.from('a layer');
const descriptor = descriptorOf(blob);
const place = `/v2/a/b/blobs/${descriptor.digest}`;
const credentials = async () => ({ username: 'u', password: 'canary' });

async function start(t: TestContext, tls?: Certificate) {
  const registry = await startHostileRegistry(tls === undefined ? {} : { tls });
  t.after(() => registry.stop());
  return registry;
}

async function setUp(t: TestContext, options: Parameters<typeof createClient>[1] = {}) {
  const registry = await start(t);
  const client = createClient(t, options);
  const sink = new MemorySink();
  const reference = parseReference(`${registry.host}/a/b`);
  const run = () => fetchBlob(client, reference, descriptor, sink, { signal });
  const redirect = (location: string, status = 307) =>
    registry.on(place, (_request, response) => void response.writeHead(status, { location }).end());
  return { registry, sink, run, redirect };
}

describe('redirects', () => {
  let tls: Certificate;
  before(async () => {
    tls = await makeCertificate();
  });

  test('7. a redirect loop: refused at 10 hops', async (t) => {
    const { registry, run, redirect } = await setUp(t);
    redirect(place);
    await assert.rejects(
      run(),
      failure('REGISTRY_PROTOCOL', { retryable: false, message: /more than 10 times/ }),
    );
    assert.equal(registry.requests.length, 11);
  });

  for (const status of [301, 302, 303, 307, 308]) {
    test(`11. a redirect (${status}) to another host: followed, without the Authorization header`, async (t) => {
      const { registry, sink, run } = await setUp(t, { credentials });
      const cdn = await start(t);
      cdn.serve('/data', blob);
      registry.on(place, (request, response) => {
        if (request.headers.authorization === undefined) {
          response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
        } else {
          const location = `http://u:p@localhost:${cdn.port}/data?signature=1#x`;
          response.writeHead(status, { location }).end('gone elsewhere');
        }
      });
      await run();
      assert.ok(sink.bytes.equals(blob));
      assert.match(registry.requests.at(-1)?.headers.authorization ?? '', /^Basic /);
      assert.equal(cdn.requests[0]?.path, '/data?signature=1');
      assert.equal(cdn.requests[0]?.headers.authorization, undefined);
    });
  }

  test('11. a redirect inside the registry keeps it; one back from elsewhere does not', async (t) => {
    const { registry, run } = await setUp(t, { credentials });
    const elsewhere = await start(t);
    registry.on(place, (request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      } else response.writeHead(307, { location: '/inside' }).end();
    });
    registry.on('/inside', (_request, response) => {
      response.writeHead(307, { location: `${elsewhere.origin}/out` }).end();
    });
    elsewhere.on('/out', (_request, response) => {
      response.writeHead(307, { location: `${registry.origin}/back` }).end();
    });
    registry.serve('/back', blob);
    await run();
    const seen = registry.requests.map(({ path, headers }) => [
      path,
      headers.authorization !== undefined,
    ]);
    assert.deepEqual(seen.slice(1), [
      [place, true],
      ['/inside', true],
      ['/back', false],
    ]);
  });

  test('12. a 401 from where it was redirected to gets no login', async (t) => {
    const { run, redirect } = await setUp(t, { credentials });
    const cdn = await start(t);
    cdn.on('/data', (_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    });
    redirect(`${cdn.origin}/data`);
    await assert.rejects(run(), failure('UNAUTHORIZED'));
    assert.deepEqual(
      cdn.requests.map(({ headers }) => headers.authorization),
      [undefined],
    );
  });

  for (const location of [
    'http://169.254.169.254/latest/meta-data',
    'http://2852039166/',
    'http://0xa9.0xfe.0xa9.0xfe/',
    'http://[::ffff:169.254.169.254]/',
    'http://[::ffff:a9fe:a9fe]/',
    'http://[fe80::1]/',
    'http://[fd00:ec2::254]/',
    'http://0.0.0.0:1/',
    'http://metadata.test/',
    'http://metadata6.test/',
  ]) {
    test(`8. a redirect to a link-local or metadata address: refused (${location})`, async (t) => {
      const lookup = testNames((name) =>
        name === 'metadata6.test' ? '::ffff:169.254.169.254' : '169.254.169.254',
      );
      const { run, redirect } = await setUp(t, { lookup });
      redirect(location);
      await assert.rejects(run(), failure('ADDRESS_REFUSED', { retryable: false }));
    });
  }

  test('8. loopback and private ranges: only where the configuration allows that registry', async (t) => {
    const registry = await start(t, tls);
    registry.serve(place, blob);
    const lookup = testNames(() => '127.0.0.1');
    const reference = parseReference(`registry.example.test:${registry.port}/a/b`);
    const ca = tls.certificate;
    await assert.rejects(
      createClient(t, { lookup, ca }).blob(reference, descriptor),
      failure('ADDRESS_REFUSED', { retryable: false, message: /127\.0\.0\.1, a loopback address/ }),
    );
    const literal = parseReference('10.1.2.3:5000/a/b');
    await assert.rejects(createClient(t).blob(literal, descriptor), failure('ADDRESS_REFUSED'));
    const allowed = createClient(t, {
      lookup,
      ca,
      allowPrivate: (name) => name === reference.registry,
    });
    const sink = new MemorySink();
    await fetchBlob(allowed, reference, descriptor, sink, { signal });
    assert.ok(sink.bytes.equals(blob));
  });

  test('8. a connection that one registry was allowed does not serve another one', async (t) => {
    const registry = await start(t, tls);
    registry.serve(place, blob);
    const lookup = testNames(() => '127.0.0.1');
    const one = parseReference(`one.example.test:${registry.port}/a/b`);
    const client = createClient(t, {
      ...{ lookup, ca: tls.certificate, allowPrivate: (name: string) => name === one.registry },
    });
    await fetchBlob(client, one, descriptor, new MemorySink(), { signal });
    const other = parseReference(`two.example.test:${registry.port}/a/b`);
    await assert.rejects(client.blob(other, descriptor), failure('ADDRESS_REFUSED'));
  });

  test('9. DNS rebinding between check and connect: the checked address is the one that is used', async (t) => {
    const cdn = await start(t);
    cdn.serve('/data', blob);
    let lookups = 0;
    const lookup = testNames(() => (++lookups === 1 ? '127.0.0.1' : '169.254.169.254'));
    const { sink, run, redirect } = await setUp(t, { lookup });
    // `localhost` may be ::1 alone for the server, so that the name has to lead to where it listens.
    redirect(`http://rebinding.test:${cdn.port}/data`);
    await run();
    assert.ok(sink.bytes.equals(blob));
    assert.equal(lookups, 1);
  });

  test('10. a redirect from https to http: refused', async (t) => {
    const registry = await start(t, tls);
    const plain = await start(t);
    plain.serve('/data', blob);
    registry.on(place, (_request, response) => {
      response.writeHead(307, { location: `${plain.origin}/data` }).end();
    });
    const client = createClient(t, { ca: tls.certificate });
    const reference = parseReference(`${registry.host}/a/b`);
    await assert.rejects(
      client.blob(reference, descriptor),
      failure('REGISTRY_PROTOCOL', { retryable: false, message: /from https to plain http/ }),
    );
    assert.equal(plain.requests.length, 0);
  });

  test('a redirect to nowhere, or to what is no web address: refused', async (t) => {
    const { registry, run, redirect } = await setUp(t);
    for (const location of ['file:///etc/passwd', 'http://[', 'javascript:1']) {
      redirect(location);
      await assert.rejects(run(), failure('REGISTRY_PROTOCOL'));
    }
    registry.on(place, (_request, response) => void response.writeHead(302).end());
    await assert.rejects(run(), failure('REGISTRY_PROTOCOL', { message: /to nowhere/ }));
  });

  test('a certificate that is not trusted: refused, without trying plain http', async (t) => {
    const registry = await start(t, tls);
    await assert.rejects(
      createClient(t).resolve(parseReference(`${registry.host}/a/b`)),
      failure('REGISTRY_UNAVAILABLE', { retryable: false, message: /certificate/ }),
    );
  });
});
