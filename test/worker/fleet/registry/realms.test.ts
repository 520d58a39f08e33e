import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { inspect } from 'node:util';
import { parseReference } from '../../../../shared/image/reference.ts';
import { type Certificate, makeCertificate } from '../../../support/hostile-registry.ts';
import {
  credentials,
  descriptor,
  fetchAll,
  place,
  startGuarded,
  tokenRequests,
} from './guarded-registry.ts';
import { createClient, failure, testNames } from './support.ts';

describe('where a login may go', () => {
  let tls: Certificate;
  before(async () => {
    tls = await makeCertificate();
  });

  test('13. a realm on http for an https registry: refused', async (t) => {
    const realm = await startGuarded(t);
    const registry = await startGuarded(t, { tls, realm: () => `${realm.origin}/token` });
    await assert.rejects(
      createClient(t, { ca: tls.certificate, credentials }).blob(registry.reference, descriptor),
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
      const registry = await startGuarded(t, { realm: () => realm });
      const lookup = testNames(() => '169.254.169.254');
      await assert.rejects(
        createClient(t, { lookup, credentials }).blob(registry.reference, descriptor),
        failure('ADDRESS_REFUSED', { retryable: false }),
      );
    });
  }

  for (const realm of ['http://other.test/token', 'ftp://localhost/token', 'nonsense', '']) {
    test(`12. a realm on another host: https only ("${realm}")`, async (t) => {
      const registry = await startGuarded(t, { realm: () => realm });
      await assert.rejects(
        createClient(t).blob(registry.reference, descriptor),
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
      const registry = await startGuarded(t, {
        tls,
        realm: ({ port }) => `https://${host}:${port}/token`,
      });
      registry.on('/token', (request, response) => {
        if (request.headers.authorization === undefined) response.writeHead(401).end();
        else response.end('{"token":"t"}');
      });
      const client = createClient(t, {
        lookup: testNames(() => '127.0.0.1'),
        ca: tls.certificate,
        credentials,
        allowPrivate: () => true,
      });
      const run = fetchAll(client, parseReference(`registry.example.test:${registry.port}/a/b`));
      if (trusted) await run;
      else await assert.rejects(run, failure('UNAUTHORIZED', { hint: /login was not sent/ }));
      assert.deepEqual(
        tokenRequests(registry).map(({ headers }) => headers.authorization !== undefined),
        [trusted],
      );
    });
  }

  test('12. a realm on another host that is configured gets the login', async (t) => {
    const registry = await startGuarded(t, {
      tls,
      realm: ({ port }) => `https://cdn.test:${port}/token`,
    });
    const client = createClient(t, {
      lookup: testNames(() => '127.0.0.1'),
      ca: tls.certificate,
      credentials,
      allowPrivate: () => true,
      tokenHosts: () => ['cdn.test'],
    });
    await client.blob(parseReference(`registry.example.test:${registry.port}/a/b`), descriptor);
    assert.match(tokenRequests(registry)[0]?.headers.authorization ?? '', /^Basic /);
  });

  test('a token server that leads elsewhere is not followed', async (t) => {
    const registry = await startGuarded(t);
    registry.on('/token', (_request, response) => {
      response.writeHead(307, { location: 'http://169.254.169.254/' }).end();
    });
    await assert.rejects(
      createClient(t, { credentials }).blob(registry.reference, descriptor),
      failure('REGISTRY_PROTOCOL'),
    );
  });

  test('a registry that sends the login back gets it into no error', async (t) => {
    const registry = await startGuarded(t);
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
      createClient(t, { credentials }).blob(registry.reference, descriptor),
      (error) => {
        failure('DENIED', { message: /NO: Basic \*\*\*/ })(error);
        const shown = inspect(error, { depth: 9 });
        assert.doesNotMatch(shown, /canary/);
        assert.ok(!shown.includes(Buffer.from('u:canary-5w0rd').toString('base64')));
        return true;
      },
    );
  });
});
