import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { describe, type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { mediaTypes } from '../../../../shared/image/descriptor.ts';
import {
  blob,
  credentials,
  descriptor,
  fetchAll,
  giveBlob,
  guarded,
  place,
  startGuarded,
  tokenRequests,
} from './guarded-registry.ts';
import { createClient, failure } from './support.ts';

describe('tokens', () => {
  test('anonymous bearer: one token for all that ask at once, kept for the next', async (t) => {
    const registry = await startGuarded(t, { realm: ({ origin }) => `${origin}/token?x=1` });
    const client = createClient(t);
    const fetchOne = () => fetchAll(client, registry.reference);
    await Promise.all([fetchOne(), fetchOne(), fetchOne()]);
    await fetchOne();
    assert.equal(registry.tokenCount(), 1);
    const [asked] = tokenRequests(registry);
    assert.equal(asked?.path, '/token?x=1&service=s+x&scope=repository%3Aa%2Fb%3Apull');
    assert.equal(asked?.headers.authorization, undefined);
  });

  test('with a login, the realm gets it as basic; access_token counts as token', async (t) => {
    const registry = await startGuarded(t);
    registry.on('/token', (_request, response) => void response.end('{"access_token":"t"}'));
    registry.on(
      '/v2/a/b/manifests/latest',
      guarded(
        `${registry.origin}/token`,
        (token) => token === 't',
        (_request, response) => {
          response.writeHead(200, { 'content-type': mediaTypes.ociManifest }).end('{}');
        },
      ),
    );
    await createClient(t, { credentials }).resolve(registry.reference);
    assert.match(tokenRequests(registry)[0]?.headers.authorization ?? '', /^Basic /);
  });

  test('a token is kept as long as it says', async (t) => {
    const registry = await startGuarded(t, { extra: { expires_in: 1 } });
    const client = createClient(t);
    await fetchAll(client, registry.reference);
    await new Promise((done) => setTimeout(done, 1_100));
    await fetchAll(client, registry.reference);
    assert.equal(registry.tokenCount(), 2);
  });

  test('14. an endless 401: refused after one refresh', async (t) => {
    const registry = await startGuarded(t, { accepts: () => false });
    const client = createClient(t, { credentials });
    await assert.rejects(
      client.blob(registry.reference, descriptor),
      failure('UNAUTHORIZED', {
        retryable: false,
        message: /authentication required/,
        hint: /dray login/,
      }),
    );
    assert.equal(registry.tokenCount(), 1);
    assert.equal(registry.requests.length, 3);
  });

  test('15. a token that expires in mid-blob: refreshed, and resumed', async (t) => {
    let calls = 0;
    const registry = await startGuarded(t, {
      extra: { expires_in: 300 },
      accepts: (token) => token === `token-${calls === 0 ? 1 : 2}`,
      give: (request, response) => {
        if (calls++ > 0) return giveBlob(request, response);
        response.writeHead(200, { 'content-length': blob.length });
        response.write(blob.subarray(0, 50_000), () => setTimeout(() => response.destroy(), 10));
      },
    });
    assert.ok((await fetchAll(createClient(t), registry.reference)).equals(blob));
    assert.equal(registry.tokenCount(), 2);
    assert.equal(registry.requests.at(-1)?.headers.range, 'bytes=50000-');
  });

  test('a token server that fails: its own words, and whether it may pass', async (t) => {
    const registry = await startGuarded(t);
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
      await assert.rejects(client.blob(registry.reference, descriptor), check);
    }
  });

  test('a registry token is sent as it is', async (t) => {
    const registry = await startGuarded(t, { accepts: (token) => token === 'own' });
    const client = createClient(t, { credentials: async () => ({ registryToken: 'own' }) });
    await client.blob(registry.reference, descriptor);
    assert.deepEqual(tokenRequests(registry), []);
  });

  test('scopes of several repositories are asked for together', async (t) => {
    const registry = await startGuarded(t);
    registry.on(place, (request, response) => {
      if (request.headers.authorization !== undefined) return giveBlob(request, response);
      const scope = 'repository:a/b:pull repository:base/image:pull';
      const challenge = `Bearer realm="${registry.origin}/token",scope="${scope}"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    });
    await createClient(t).blob(registry.reference, descriptor);
    const [asked] = tokenRequests(registry);
    assert.deepEqual(new URL(asked?.path ?? '', 'http://x').searchParams.getAll('scope'), [
      'repository:a/b:pull',
      'repository:base/image:pull',
    ]);
  });

  test('a login that changes or goes counts at once; pulls of different names share no token', async (t) => {
    const registry = await startGuarded(t);
    const users: (string | undefined)[] = [];
    registry.on('/token', (request, response) => {
      const pair = Buffer.from(request.headers.authorization?.slice(6) ?? '', 'base64').toString();
      users.push(pair.split(':')[0]);
      response.end(JSON.stringify({ token: `of-${pair.split(':')[0]}`, expires_in: 3600 }));
    });
    let login: string | undefined = 'one';
    const client = createClient(t, {
      credentials: async ({ name }) => {
        const username = name ?? login;
        return username === undefined ? undefined : { username, password: 'p' };
      },
    });
    const used = async (options: object = {}) => {
      using _blob = await client.blob(registry.reference, descriptor, options);
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
    const registry = await startGuarded(t);
    registry.on(place, (_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Negotiate' }).end();
    });
    await assert.rejects(
      createClient(t, { credentials }).blob(registry.reference, descriptor),
      failure('UNAUTHORIZED', { message: /negotiate/ }),
    );
  });

  describe('OAuth2 by POST', () => {
    const identity = async () => ({ identityToken: 'canary refresh/+' });
    const needsToken = async (t: TestContext, extra: Parameters<typeof createClient>[1]) => {
      const registry = await startGuarded(t, { accepts: (token) => token === 't' });
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
      const client = createClient(t, extra);
      return { registry, forms, answers, run: () => fetchAll(client, registry.reference) };
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
});
