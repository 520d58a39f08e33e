import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { text } from 'node:stream/consumers';
import { before, describe, type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { mediaTypes } from '../../../../shared/image/descriptor.ts';
import { parseReference } from '../../../../shared/image/reference.ts';
import { fetchBlob } from '../../../../worker/fleet/registry/fetch.ts';
import {
  type Certificate,
  type HostileRegistry,
  makeCertificate,
  startHostileRegistry,
} from '../../../support/hostile-registry.ts';
import { createClient, descriptorOf, failure, MemorySink, testNames } from './support.ts';

const { signal } = new AbortController();
const blob = Buffer.from('a layer '.repeat(10_000));
const descriptor = descriptorOf(blob);
const place = `/v2/a/b/blobs/${descriptor.digest}`;
const credentials = async () => ({ username: 'u', password: 'canary-5w0rd' });
const manifest = Buffer.from('{}');

async function start(t: TestContext, tls?: Certificate) {
  const registry = await startHostileRegistry(tls === undefined ? {} : { tls });
  t.after(() => registry.stop());
  return registry;
}

/** Hands out `token-1`, `token-2`, … */
function serveTokens(server: HostileRegistry, extra: object = {}): { count: () => number } {
  let count = 0;
  server.on('/token', (_request, response) => {
    response.end(JSON.stringify({ token: `token-${++count}`, ...extra }));
  });
  return { count: () => count };
}

/** Asks for a token of `realm` unless the request has one that `accepts` takes. */
function guarded(
  realm: string,
  accepts: (token: string) => boolean,
  handler: RequestListener,
): RequestListener {
  return (request, response) => {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (token !== undefined && accepts(token)) return handler(request, response);
    const scope = 'repository:a/b:pull';
    response
      .writeHead(401, {
        'www-authenticate': `Bearer realm="${realm}",service="s x",scope="${scope}"`,
      })
      .end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
  };
}

const giveBlob: RequestListener = (request, response) => {
  const from = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
  const rest = blob.subarray(Number(from ?? 0));
  const range = { 'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}` };
  response.writeHead(from === undefined ? 200 : 206, from === undefined ? {} : range).end(rest);
};

describe('logging in', () => {
  let tls: Certificate;
  before(async () => {
    tls = await makeCertificate();
  });

  test('anonymous bearer: one token for all that ask at once, kept for the next', async (t) => {
    const registry = await start(t);
    const tokens = serveTokens(registry);
    registry.on(
      place,
      guarded(`${registry.origin}/token?x=1`, () => true, giveBlob),
    );
    const client = createClient(t);
    const reference = parseReference(`${registry.host}/a/b`);
    const fetchOne = () => fetchBlob(client, reference, descriptor, new MemorySink(), { signal });
    await Promise.all([fetchOne(), fetchOne(), fetchOne()]);
    await fetchOne();
    assert.equal(tokens.count(), 1);
    const asked = registry.requests.find(({ path }) => path.startsWith('/token'));
    assert.equal(asked?.path, '/token?x=1&service=s+x&scope=repository%3Aa%2Fb%3Apull');
    assert.equal(asked?.headers.authorization, undefined);
  });

  test('with a login, the realm gets it as basic; access_token counts as token', async (t) => {
    const registry = await start(t);
    registry.on('/token', (_request, response) => void response.end('{"access_token":"t"}'));
    registry.on(
      '/v2/a/b/manifests/latest',
      guarded(
        `${registry.origin}/token`,
        (token) => token === 't',
        (_request, response) => {
          response.writeHead(200, { 'content-type': mediaTypes.ociManifest }).end(manifest);
        },
      ),
    );
    await createClient(t, { credentials }).resolve(parseReference(`${registry.host}/a/b`));
    const asked = registry.requests.find(({ path }) => path.startsWith('/token'));
    assert.match(asked?.headers.authorization ?? '', /^Basic /);
  });

  test('a token is kept as long as it says', async (t) => {
    const registry = await start(t);
    const tokens = serveTokens(registry, { expires_in: 1 });
    registry.on(
      place,
      guarded(`${registry.origin}/token`, () => true, giveBlob),
    );
    const client = createClient(t);
    const run = () =>
      fetchBlob(client, parseReference(`${registry.host}/a/b`), descriptor, new MemorySink(), {
        signal,
      });
    await run();
    await new Promise((done) => setTimeout(done, 1_100));
    await run();
    assert.equal(tokens.count(), 2);
  });

  test('14. an endless 401: refused after one refresh', async (t) => {
    const registry = await start(t);
    const tokens = serveTokens(registry);
    registry.on(
      place,
      guarded(`${registry.origin}/token`, () => false, giveBlob),
    );
    const client = createClient(t, { credentials });
    await assert.rejects(
      client.blob(parseReference(`${registry.host}/a/b`), descriptor),
      failure('UNAUTHORIZED', {
        retryable: false,
        message: /authentication required/,
        hint: /dray login/,
      }),
    );
    assert.equal(tokens.count(), 1);
    assert.equal(registry.requests.length, 3);
  });

  test('15. a token that expires in mid-blob: refreshed, and resumed', async (t) => {
    const registry = await start(t);
    const tokens = serveTokens(registry, { expires_in: 300 });
    let calls = 0;
    registry.on(
      place,
      guarded(
        `${registry.origin}/token`,
        (token) => token === `token-${calls === 0 ? 1 : 2}`,
        (request, response) => {
          if (calls++ > 0) return giveBlob(request, response);
          response.writeHead(200, { 'content-length': blob.length });
          response.write(blob.subarray(0, 50_000), () => setTimeout(() => response.destroy(), 10));
        },
      ),
    );
    const sink = new MemorySink();
    await fetchBlob(createClient(t), parseReference(`${registry.host}/a/b`), descriptor, sink, {
      ...{ signal, backoffMs: 1 },
    });
    assert.ok(sink.bytes.equals(blob));
    assert.equal(tokens.count(), 2);
    assert.equal(registry.requests.at(-1)?.headers.range, 'bytes=50000-');
  });

  test('13. a realm on http for an https registry: refused', async (t) => {
    const registry = await start(t, tls);
    const realm = await start(t);
    serveTokens(realm);
    registry.on(
      place,
      guarded(`${realm.origin}/token`, () => true, giveBlob),
    );
    await assert.rejects(
      createClient(t, { ca: tls.certificate, credentials }).blob(
        parseReference(`${registry.host}/a/b`),
        descriptor,
      ),
      failure('REGISTRY_PROTOCOL', { retryable: false, message: /not https/ }),
    );
    assert.equal(realm.requests.length, 0);
  });

  for (const realm of [
    'https://169.254.169.254/token',
    'https://[fe80::1]/token',
    'https://metadata.test/token',
  ]) {
    test(`13. a realm that is link-local: refused (${realm})`, async (t) => {
      const registry = await start(t);
      registry.on(
        place,
        guarded(realm, () => true, giveBlob),
      );
      const lookup = testNames(() => '169.254.169.254');
      await assert.rejects(
        createClient(t, { lookup, credentials }).blob(
          parseReference(`${registry.host}/a/b`),
          descriptor,
        ),
        failure('ADDRESS_REFUSED', { retryable: false }),
      );
    });
  }

  for (const realm of ['http://other.test/token', 'ftp://localhost/token', 'nonsense', '']) {
    test(`12. a realm on another host: https only ("${realm}")`, async (t) => {
      const registry = await start(t);
      registry.on(
        place,
        guarded(realm, () => true, giveBlob),
      );
      await assert.rejects(
        createClient(t).blob(parseReference(`${registry.host}/a/b`), descriptor),
        failure('REGISTRY_PROTOCOL', { retryable: false }),
      );
    });
  }

  for (const [host, trusted] of [
    ['registry.example.test', true],
    ['example.test', true],
    ['other.example.test', false],
    ['cdn.test', false],
    ['a.registry.example.test', false],
  ] as const) {
    test(`12. a login ${trusted ? 'goes' : 'does not go'} to a realm at ${host}`, async (t) => {
      const registry = await start(t, tls);
      registry.on('/token', (request, response) => {
        if (request.headers.authorization === undefined) response.writeHead(401).end();
        else response.end('{"token":"t"}');
      });
      registry.on(
        place,
        guarded(`https://${host}:${registry.port}/token`, () => true, giveBlob),
      );
      const lookup = testNames(() => '127.0.0.1');
      const reference = parseReference(`registry.example.test:${registry.port}/a/b`);
      const ca = tls.certificate;
      const client = createClient(t, { lookup, ca, credentials, allowPrivate: () => true });
      const run = fetchBlob(client, reference, descriptor, new MemorySink(), { signal });
      if (trusted) await run;
      else await assert.rejects(run, failure('UNAUTHORIZED', { hint: /login was not sent/ }));
      const asked = registry.requests.filter(({ path }) => path.startsWith('/token'));
      assert.deepEqual(
        asked.map(({ headers }) => headers.authorization !== undefined),
        [trusted],
      );
    });
  }

  test('a token server that fails: its own words, and whether it may pass', async (t) => {
    const registry = await start(t);
    registry.on(
      place,
      guarded(`${registry.origin}/token`, () => true, giveBlob),
    );
    const reference = parseReference(`${registry.host}/a/b`);
    const client = createClient(t, { credentials });
    const answers: [body: string, status: number, check: (error: unknown) => boolean][] = [
      [
        '{"details":"incorrect username or password"}',
        401,
        failure('UNAUTHORIZED', { message: /incorrect username/, hint: /log in again/ }),
      ],
      ['', 503, failure('REGISTRY_UNAVAILABLE', { retryable: true })],
      ['', 429, failure('RATE_LIMITED', { retryable: true })],
      ['{}', 200, failure('REGISTRY_PROTOCOL', { message: /without a usable token/ })],
      ['{"token":"a\\r\\nX: y"}', 200, failure('REGISTRY_PROTOCOL')],
      ['[', 200, failure('REGISTRY_PROTOCOL')],
      ['x'.repeat(1_000_000), 200, failure('REGISTRY_PROTOCOL')],
    ];
    for (const [body, status, check] of answers) {
      registry.on('/token', (_request, response) => void response.writeHead(status).end(body));
      await assert.rejects(client.blob(reference, descriptor), check);
    }
    registry.on('/token', (_request, response) => {
      response.writeHead(307, { location: 'http://169.254.169.254/' }).end();
    });
    await assert.rejects(client.blob(reference, descriptor), failure('REGISTRY_PROTOCOL'));
  });

  test('a registry that sends the login back gets it into no error', async (t) => {
    const registry = await start(t);
    registry.on(place, (request, response) => {
      const { authorization = '' } = request.headers;
      if (authorization === '') {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
        return;
      }
      const sent = `${authorization} ${Buffer.from(authorization.slice(6), 'base64')}`;
      response.writeHead(403).end(JSON.stringify({ errors: [{ code: 'NO', message: sent }] }));
    });
    await assert.rejects(
      createClient(t, { credentials }).blob(parseReference(`${registry.host}/a/b`), descriptor),
      (error) => {
        failure('DENIED', { message: /NO: Basic \*\*\*/ })(error);
        const shown = inspect(error, { depth: 9 });
        assert.doesNotMatch(shown, /canary/);
        assert.ok(!shown.includes(Buffer.from('u:canary-5w0rd').toString('base64')));
        return true;
      },
    );
  });

  describe('OAuth2 by POST', () => {
    const identity = async () => ({ identityToken: 'canary refresh/+' });
    const needsToken = async (t: TestContext, extra: Parameters<typeof createClient>[1]) => {
      const registry = await start(t);
      const forms: URLSearchParams[] = [];
      const answers = {
        post: (_form: URLSearchParams) => ({ status: 200, body: '{"access_token":"t"}' }),
      };
      registry.on('/token', async (request, response) => {
        if (request.method !== 'POST') return void response.writeHead(405).end();
        const form = new URLSearchParams(await text(request));
        forms.push(form);
        assert.equal(request.headers['content-type'], 'application/x-www-form-urlencoded');
        assert.equal(request.headers.authorization, undefined);
        const { status, body } = answers.post(form);
        response.writeHead(status).end(body);
      });
      registry.on(
        place,
        guarded(`${registry.origin}/token`, (token) => token === 't', giveBlob),
      );
      const client = createClient(t, extra);
      const run = () =>
        fetchBlob(client, parseReference(`${registry.host}/a/b`), descriptor, new MemorySink(), {
          signal,
        });
      return { registry, forms, answers, run };
    };

    test('an identity token is changed for an access token', async (t) => {
      const { forms, run } = await needsToken(t, { credentials: identity });
      await run();
      await run();
      assert.deepEqual(
        forms.map((form) => Object.fromEntries(form)),
        [
          {
            client_id: 'drayage',
            grant_type: 'refresh_token',
            refresh_token: 'canary refresh/+',
            service: 's x',
            scope: 'repository:a/b:pull',
          },
        ],
      );
    });

    test('a password goes so where the token server knows no GET', async (t) => {
      const { forms, run, registry } = await needsToken(t, { credentials });
      await run();
      const [form] = forms;
      assert.equal(form?.get('grant_type'), 'password');
      assert.equal(form?.get('password'), 'canary-5w0rd');
      assert.ok(registry.requests.every(({ path }) => !path.includes('canary')));
    });

    test('an identity token that has ended: said, without it', async (t) => {
      const { answers, run } = await needsToken(t, {
        credentials: async () => ({ ...(await identity()), from: '/some/config.json' }),
      });
      answers.post = (form) => ({
        status: 400,
        body: JSON.stringify({ message: `no: ${form.get('refresh_token')} ${form}` }),
      });
      await assert.rejects(run(), (error) => {
        const hint = /from \/some\/config\.json is not valid.*dray login/;
        failure('UNAUTHORIZED', { retryable: false, hint, message: /no: \*\*\*/ })(error);
        assert.doesNotMatch(inspect(error, { depth: 9 }), /canary/);
        return true;
      });
    });

    test('a helper whose answer is refused is asked again', async (t) => {
      const asked: unknown[] = [];
      const { answers, run } = await needsToken(t, {
        credentials: async (_query, options) => {
          asked.push(options?.fresh);
          return { identityToken: options?.fresh ? 'new' : 'old' };
        },
      });
      const granted = answers.post;
      answers.post = (form) =>
        form.get('refresh_token') === 'new' ? granted(form) : { status: 401, body: '' };
      await run();
      assert.deepEqual(asked, [false, true]);
    });
  });

  test('a registry token is sent as it is', async (t) => {
    const registry = await start(t);
    registry.on(
      place,
      guarded(`${registry.origin}/token`, (token) => token === 'own', giveBlob),
    );
    const client = createClient(t, { credentials: async () => ({ registryToken: 'own' }) });
    await client.blob(parseReference(`${registry.host}/a/b`), descriptor);
    assert.ok(registry.requests.every(({ path }) => path !== '/token'));
  });

  test('scopes of several repositories are asked for together', async (t) => {
    const registry = await start(t);
    serveTokens(registry);
    registry.on(place, (request, response) => {
      if (request.headers.authorization !== undefined) return giveBlob(request, response);
      const scope = 'repository:a/b:pull repository:base/image:pull';
      const challenge = `Bearer realm="${registry.origin}/token",scope="${scope}"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    });
    await createClient(t).blob(parseReference(`${registry.host}/a/b`), descriptor);
    const asked = registry.requests.find(({ path }) => path.startsWith('/token'));
    assert.deepEqual(new URL(asked?.path ?? '', 'http://x').searchParams.getAll('scope'), [
      'repository:a/b:pull',
      'repository:base/image:pull',
    ]);
  });

  test('12. a realm on another host that is configured gets the login', async (t) => {
    const registry = await start(t, tls);
    serveTokens(registry);
    registry.on(
      place,
      guarded(`https://cdn.test:${registry.port}/token`, () => true, giveBlob),
    );
    const client = createClient(t, {
      lookup: testNames(() => '127.0.0.1'),
      ca: tls.certificate,
      credentials,
      allowPrivate: () => true,
      tokenHosts: () => ['cdn.test'],
    });
    await client.blob(parseReference(`registry.example.test:${registry.port}/a/b`), descriptor);
    const asked = registry.requests.find(({ path }) => path.startsWith('/token'));
    assert.match(asked?.headers.authorization ?? '', /^Basic /);
  });

  test('a login that changes or goes counts at once; pulls of different names share no token', async (t) => {
    const registry = await start(t);
    const users: (string | undefined)[] = [];
    registry.on('/token', (request, response) => {
      const pair = Buffer.from(request.headers.authorization?.slice(6) ?? '', 'base64').toString();
      users.push(pair.split(':')[0]);
      response.end(JSON.stringify({ token: `of-${pair.split(':')[0]}`, expires_in: 3600 }));
    });
    registry.on(
      place,
      guarded(`${registry.origin}/token`, () => true, giveBlob),
    );
    let login: string | undefined = 'one';
    const client = createClient(t, {
      credentials: async ({ name }) => {
        const username = name ?? login;
        return username === undefined ? undefined : { username, password: 'p' };
      },
    });
    const reference = parseReference(`${registry.host}/a/b`);
    const used = async (options: object = {}) => {
      await (await client.blob(reference, descriptor, options)).body[Symbol.asyncIterator]().next();
      return registry.requests.at(-1)?.headers.authorization;
    };
    assert.equal(await used(), 'Bearer of-one');
    assert.equal(await used(), 'Bearer of-one');
    assert.equal(await used({ credential: 'team' }), 'Bearer of-team');
    login = 'two';
    assert.equal(await used(), 'Bearer of-two');
    login = undefined;
    assert.equal(await used(), 'Bearer of-');
    assert.deepEqual(users, ['one', 'team', 'two', '']);
  });

  test('a kind of login that is unknown is named', async (t) => {
    const registry = await start(t);
    registry.on(place, (_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Negotiate' }).end();
    });
    await assert.rejects(
      createClient(t, { credentials }).blob(parseReference(`${registry.host}/a/b`), descriptor),
      failure('UNAUTHORIZED', { message: /negotiate/ }),
    );
  });
});
