import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { parseReference } from '../../../../shared/image/reference.ts';
import type { Credential } from '../../../../worker/fleet/registry/credentials/credential.ts';
import { fetchBlob } from '../../../../worker/fleet/registry/fetch.ts';
import { makeAuthority } from '../../../support/authority.ts';
import { startRegistry } from '../../../support/registry.ts';
import { requireTool } from '../../../support/requirements.ts';
import { startTokenServer, tokenIssuer, tokenService } from '../../../support/token-server.ts';
import { createClient, failure, MemorySink } from './support.ts';

const { signal } = new AbortController();
const login = { username: 'reader', password: 'canary-5w0rd', identityToken: 'canary-refresh' };
const layer = Buffer.from('a layer '.repeat(10_000));

/** docker-registry with two images whose tokens come from a server of ours. */
async function setUp(t: TestContext) {
  await using authority = await makeAuthority('token signer');
  const signer = await authority.issue('signer');
  const data = await mkdtemp(path.join(tmpdir(), 'dray-tokens-'));
  t.after(() => rm(data, { recursive: true }));
  await using open = await startRegistry({ data });
  const pushed = await open.push('public/app', 'v1', { layers: [layer] });
  await open.push('private/app', 'v1', { layers: [layer] });
  await open.stop();
  const tokens = await startTokenServer({ signer, login });
  t.after(() => tokens.stop());
  const { realm } = tokens;
  const registry = await startRegistry({
    data,
    tokens: {
      ...{ realm, service: tokenService, issuer: tokenIssuer },
      certificate: authority.certificate,
    },
  });
  t.after(() => registry.stop());
  const pull = async (repository: string, credential?: Credential) => {
    const client = createClient(t, { credentials: async () => credential });
    const reference = parseReference(`${registry.host}/${repository}:v1`);
    const { descriptor } = await client.resolve(reference);
    assert.deepEqual(descriptor, pushed.manifest);
    const [blob] = pushed.layers;
    assert.ok(blob);
    const sink = new MemorySink();
    await fetchBlob(client, reference, blob, sink, { signal });
    assert.ok(sink.bytes.equals(layer));
  };
  return { registry, tokens, pull };
}

describe("docker-registry's tokens", () => {
  test('for anybody, by a password, by an identity token, and for nobody', async (t) => {
    if (!requireTool(t, 'docker-registry', 'openssl')) return;
    const { registry, tokens, pull } = await setUp(t);
    const { username, password, identityToken } = login;
    await pull('public/app');
    await pull('private/app', { username, password });
    await pull('private/app', { identityToken });
    assert.deepEqual(tokens.asked, [
      'GET repository:public/app:pull',
      'GET repository:private/app:pull reader',
      'POST refresh_token repository:private/app:pull reader',
    ]);
    await assert.rejects(
      pull('private/app'),
      failure('UNAUTHORIZED', { hint: new RegExp(`dray login ${registry.host}`) }),
    );
    await assert.rejects(
      pull('private/app', { username, password: 'wrong' }),
      failure('UNAUTHORIZED', { message: /bad login/, hint: /not valid/ }),
    );
  });

  test('a login is checked by them', async (t) => {
    if (!requireTool(t, 'docker-registry', 'openssl')) return;
    const { registry, pull } = await setUp(t);
    await pull('public/app');
    const check = async (credential: Credential) =>
      await createClient(t, { credentials: async () => credential }).checkLogin(registry.host);
    const { username, password, identityToken } = login;
    assert.equal(await check({ username, password }), true);
    assert.equal(await check({ identityToken }), true);
    await assert.rejects(check({ username: 'reader', password: 'no' }), failure('UNAUTHORIZED'));
  });
});
