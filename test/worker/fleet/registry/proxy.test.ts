import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { mediaTypes } from '../../../../shared/image/descriptor.ts';
import { parseReference } from '../../../../shared/image/reference.ts';
import { fetchBlob } from '../../../../worker/fleet/registry/fetch.ts';
import { proxyRule } from '../../../../worker/fleet/registry/proxy.ts';
import { makeAuthority } from '../../../support/authority.ts';
import { startHostileRegistry } from '../../../support/hostile-registry.ts';
import { startProxy, startSocksProxy } from '../../../support/proxy.ts';
import { registryUser, startRegistry } from '../../../support/registry.ts';
import { requireTool } from '../../../support/requirements.ts';
import { createClient, descriptorOf, failure, MemorySink, testNames } from './support.ts';

const { signal } = new AbortController();
const layer = Buffer.from('a layer '.repeat(50_000));

describe('which proxy', () => {
  const proxies = { HTTPS_PROXY: 'http://s.proxy:1', HTTP_PROXY: 'p.proxy:2' };
  const hostOf = (env: NodeJS.ProcessEnv, url: string) => proxyRule(env)(new URL(url))?.host;

  test('by the protocol, in upper and lower case; never for this machine', () => {
    assert.equal(hostOf(proxies, 'https://r.test/'), 's.proxy:1');
    assert.equal(hostOf(proxies, 'http://r.test/'), 'p.proxy:2');
    assert.equal(hostOf({ https_proxy: 'http://low.proxy:3' }, 'https://r.test/'), 'low.proxy:3');
    assert.equal(hostOf({ HTTP_PROXY: 'http://x:1' }, 'https://r.test/'), undefined);
    for (const local of ['http://localhost:5000/', 'https://127.0.0.1/', 'https://[::1]:5000/']) {
      assert.equal(hostOf(proxies, local), undefined);
    }
  });

  for (const [exempt, url, direct] of [
    ['*', 'https://r.test/', true],
    ['r.test', 'https://r.test/', true],
    ['r.test', 'https://sub.r.test/', true],
    ['r.test', 'https://other.test/', false],
    ['r.test', 'https://bar.test/', false],
    ['.r.test', 'https://r.test/', false],
    ['.r.test', 'https://sub.r.test/', true],
    ['*.r.test', 'https://sub.r.test/', true],
    ['R.Test', 'https://r.test/', true],
    ['a.test, r.test:5000 ,b.test', 'https://r.test:5000/', true],
    ['r.test:5000', 'https://r.test/', false],
    ['r.test:443', 'https://r.test/', true],
    ['10.0.0.0/8', 'https://10.1.2.3/', true],
    ['10.0.0.0/8', 'https://11.1.2.3/', false],
    ['10.0.0.0/99', 'https://10.1.2.3/', false],
    ['fd00::/8', 'https://[fd00::1]/', true],
    ['192.168.1.1', 'https://192.168.1.1:5000/', true],
    ['[fd00::1]:5000', 'https://[fd00::1]/', false],
    ['', 'https://r.test/', false],
  ] as const) {
    test(`NO_PROXY="${exempt}": ${url} ${direct ? 'directly' : 'by the proxy'}`, () => {
      const host = hostOf({ ...proxies, NO_PROXY: exempt }, url);
      assert.equal(host, direct ? undefined : 's.proxy:1');
    });
  }

  test('a proxy that is none is refused, and not shown', () => {
    for (const proxy of ['http://u:canary@:1:2', 'gopher://u:canary@x']) {
      assert.throws(
        () => proxyRule({ HTTPS_PROXY: proxy }),
        (error) => {
          failure('USAGE', { message: /HTTPS_PROXY/ })(error);
          return !inspect(error, { depth: 9 }).includes('canary');
        },
      );
    }
  });
});

describe('through a proxy', () => {
  /** A name that only the proxy knows the way to: it leads to loopback. */
  const hidden = testNames((name) => {
    if (name.endsWith('.public.test')) return '203.0.113.9';
    return name === 'metadata.test' ? '169.254.169.254' : '10.0.0.1';
  });

  async function setUp(t: TestContext, options: Parameters<typeof createClient>[1] = {}) {
    const proxy = await startProxy({ user: 'pu', password: 'canary-proxy' });
    t.after(() => proxy.stop());
    const env = { HTTPS_PROXY: proxy.url, HTTP_PROXY: proxy.url };
    const client = createClient(t, { lookup: hidden, proxy: proxyRule(env), ...options });
    return { proxy, client, env };
  }

  test('https by CONNECT, with TLS to the registry itself', async (t) => {
    if (!requireTool(t, 'docker-registry', 'openssl')) return;
    await using authority = await makeAuthority('dray tests');
    const tls = await authority.issue('r', ['DNS:r.public.test', 'DNS:localhost']);
    await using registry = await startRegistry({
      tls: { ...tls, ca: authority.certificate },
      htpasswd: true,
    });
    const pushed = await registry.push('a/b', 'v1', { layers: [layer] });
    const { proxy, client } = await setUp(t, {
      ca: authority.certificate,
      credentials: async () => registryUser,
    });
    const port = registry.host.split(':')[1];
    const reference = parseReference(`r.public.test:${port}/a/b:v1`);
    assert.deepEqual((await client.resolve(reference)).descriptor, pushed.manifest);
    const sink = new MemorySink();
    const [blob] = pushed.layers;
    assert.ok(blob);
    await fetchBlob(client, reference, blob, sink, { signal });
    assert.ok(sink.bytes.equals(layer));
    assert.deepEqual([...new Set(proxy.asked)], [`CONNECT r.public.test:${port}`]);
  });

  for (const kind of ['https', 'socks5'] as const) {
    test(`a proxy that is spoken to by ${kind}: to a registry with TLS, and to one without`, async (t) => {
      await using authority = await makeAuthority('dray tests');
      const proxyTls = await authority.issue('proxy', ['DNS:localhost']);
      const login = { user: 'pu', password: 'canary-proxy' };
      const proxy = await (kind === 'https' ? startProxy(login, proxyTls) : startSocksProxy(login));
      t.after(() => proxy.stop());
      const serverTls = await authority.issue('r', ['DNS:r.public.test']);
      const secure = await startHostileRegistry({ tls: serverTls });
      const plain = await startHostileRegistry();
      t.after(() => Promise.all([secure.stop(), plain.stop()]));
      const env = { HTTPS_PROXY: proxy.url, HTTP_PROXY: proxy.url };
      const client = createClient(t, {
        ca: authority.certificate,
        lookup: hidden,
        proxy: proxyRule(env),
        plainHttp: (registry) => registry.endsWith(`:${plain.port}`),
      });
      const descriptor = descriptorOf(layer);
      for (const registry of [secure, plain]) {
        registry.serve(`/v2/a/b/blobs/${descriptor.digest}`, layer);
        const sink = new MemorySink();
        const reference = parseReference(`r.public.test:${registry.port}/a/b`);
        await fetchBlob(client, reference, descriptor, sink, { signal });
        assert.ok(sink.bytes.equals(layer));
        assert.equal(registry.requests[0]?.headers['proxy-authorization'], undefined);
      }
      const word = kind === 'https' ? 'CONNECT' : 'SOCKS';
      const last =
        kind === 'https'
          ? `GET http://r.public.test:${plain.port}/v2/a/b/blobs/${descriptor.digest}`
          : `SOCKS r.public.test:${plain.port}`;
      assert.deepEqual(proxy.asked, [`${word} r.public.test:${secure.port}`, last]);

      const wrong = proxyRule({ HTTPS_PROXY: proxy.url.replace('canary-proxy', 'canary-wrong') });
      const refused = createClient(t, { ca: authority.certificate, lookup: hidden, proxy: wrong });
      const reference = parseReference(`r.public.test:${secure.port}/a/b`);
      await assert.rejects(refused.blob(reference, descriptor), (error) => {
        failure('REGISTRY_UNAVAILABLE', { message: /through the proxy/, hint: /HTTPS_PROXY/ })(
          error,
        );
        return !inspect(error, { depth: 9 }).includes('canary');
      });
    });
  }

  test('plain http by its address, and NO_PROXY goes past it', async (t) => {
    const registry = await startHostileRegistry();
    t.after(() => registry.stop());
    registry.serve('/v2/a/b/manifests/v1', Buffer.from('{}'), {
      'content-type': mediaTypes.ociManifest,
    });
    const { proxy, client, env } = await setUp(t, { plainHttp: () => true });
    const reference = parseReference(`r.public.test:${registry.port}/a/b:v1`);
    await client.resolve(reference);
    const url = `http://r.public.test:${registry.port}/v2/a/b/manifests/v1`;
    assert.deepEqual(proxy.asked, [`GET ${url}`]);
    assert.equal(registry.requests[0]?.headers['proxy-authorization'], undefined);

    const past = createClient(t, {
      plainHttp: () => true,
      lookup: testNames(() => '127.0.0.1'),
      proxy: proxyRule({ ...env, NO_PROXY: '.public.test' }),
    });
    await past.resolve(reference);
    assert.equal(proxy.asked.length, 1);
  });

  for (const target of [
    'https://169.254.169.254/x',
    'https://[::ffff:169.254.169.254]/x',
    'https://metadata.test/x',
    'https://10.2.3.4/x',
    'https://private.test/x',
  ]) {
    test(`8, 9. a redirect to ${target} is refused before the proxy is asked`, async (t) => {
      await using authority = await makeAuthority('dray tests');
      const { certificate, key } = await authority.issue('r', ['DNS:r.public.test']);
      const registry = await startHostileRegistry({ tls: { certificate, key } });
      t.after(() => registry.stop());
      const descriptor = descriptorOf(layer);
      registry.on(`/v2/a/b/blobs/${descriptor.digest}`, (_request, response) => {
        response.writeHead(307, { location: target }).end();
      });
      const { proxy, client } = await setUp(t, { ca: authority.certificate });
      const reference = parseReference(`r.public.test:${registry.port}/a/b`);
      await assert.rejects(
        client.blob(reference, descriptor),
        failure('ADDRESS_REFUSED', { retryable: false }),
      );
      assert.deepEqual(proxy.asked, [`CONNECT r.public.test:${registry.port}`]);
    });
  }

  test('8. what goes past the proxy is checked where it connects', async (t) => {
    const { proxy, env } = await setUp(t);
    const client = createClient(t, {
      lookup: hidden,
      proxy: proxyRule({ ...env, NO_PROXY: 'metadata.test' }),
    });
    await assert.rejects(
      client.resolve(parseReference('metadata.test/a/b')),
      failure('ADDRESS_REFUSED'),
    );
    assert.deepEqual(proxy.asked, []);
  });

  test('a proxy that refuses or is down: said, without its password', async (t) => {
    const { proxy, client } = await setUp(t);
    const reference = parseReference('absent.public.test:1/a/b');
    const check = (error: unknown) => {
      failure('REGISTRY_UNAVAILABLE', {
        retryable: true,
        message: /absent\.public\.test:1 \(through the proxy localhost:\d+\)/,
        hint: /HTTPS_PROXY/,
      })(error);
      assert.doesNotMatch(inspect(error, { depth: 9 }), /canary/);
      return true;
    };
    await assert.rejects(client.resolve(reference), check);
    await proxy.stop();
    await assert.rejects(client.resolve(reference), check);
  });
});
