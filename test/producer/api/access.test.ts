import assert from 'node:assert/strict';
import { chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions as TlsOptions } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { createToken, readTokens, removeToken } from '../../../shared/access/tokens.ts';
import { type Issued, makeAuthority } from '../../support/authority.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { startApi } from './support.ts';

describe('who may ask the API, and how often', () => {
  let folder: string;
  let redis: TestRedis;
  let env: NodeJS.ProcessEnv;
  let tokens: string;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'dray-access-'));
    redis = await startRedis();
    tokens = path.join(folder, 'tokens.json');
    env = { REDIS_URL: redis.url, DRAY_STATE: folder, DRAY_API_TOKENS: path.join(folder, 'none') };
  });
  after(async () => {
    await redis[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  test('without tokens, no page of another site is answered, by whatever name it asks', async () => {
    await using api = await startApi(env);
    const { host } = new URL(api.url);
    const status = async (headers: Record<string, string>, method = 'GET') =>
      await statusOf(`${api.url}/v1/pulls`, method, headers);
    assert.equal(await status({}), 200);
    assert.equal(await status({ origin: api.url }), 200);
    assert.equal(await status({ host: `localhost:${new URL(api.url).port}` }), 200);
    assert.equal(await status({ host: 'rebound.example' }), 403);
    assert.equal(await status({ host: '127.0.0.1.nip.example' }), 403);
    assert.equal(await status({ origin: 'https://evil.example' }), 403);
    assert.equal(await status({ host, 'sec-fetch-site': 'cross-site' }, 'POST'), 403);
    assert.equal(
      await statusOf(`${api.url}/board`, 'GET', { origin: 'https://evil.example' }),
      403,
    );
  });

  test('the first token counts from the moment that it is there, and its file for good', async () => {
    const file = path.join(folder, 'first.json');
    await using api = await startApi({ ...env, DRAY_API_TOKENS: file });
    const status = async (token?: string) =>
      (await api.call('GET', '/v1/nodes', token === undefined ? {} : { token })).status;
    assert.equal(await status(), 200);
    const token = await createToken(file, { name: 'first', scopes: ['read'] });
    assert.equal(await status(), 401);
    assert.equal(await status(token), 200);
    await rm(file);
    assert.equal(await status(), 401);
    // No fault of who asks.
    await writeFile(file, 'no JSON');
    const { status: answered, json } = await api.call('GET', '/v1/nodes', { token: `${token}x` });
    assert.equal(answered, 500);
    assert.doesNotMatch(JSON.stringify(json), /first\.json/);
  });

  test('tokens that are made and removed at once are all made and removed', async () => {
    const file = path.join(folder, 'many.json');
    const names = Array.from({ length: 12 }, (_, index) => `token-${index}`);
    const make = (name: string) => createToken(file, { name, scopes: ['read'] });
    await Promise.all(names.slice(0, 6).map(make));
    await Promise.all([
      ...names.slice(6).map(make),
      ...names.slice(0, 3).map((name) => removeToken(file, name)),
    ]);
    const kept = (await readTokens(file)).map(({ name }) => name);
    assert.deepEqual(new Set(kept), new Set(names.slice(3)));
    const taken = names.slice(0, 3).map(() => make('the same'));
    const made = (await Promise.allSettled(taken)).filter(({ status }) => status === 'fulfilled');
    assert.equal(made.length, 1);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
  });

  test('tokens that root makes can be read by who has their folder', async (t) => {
    if (process.getuid?.() !== 0) return t.skip('only root gives files away');
    const own = path.join(folder, 'own');
    await mkdir(own);
    await chown(own, 12_345, 12_346);
    const file = path.join(own, 'tokens.json');
    await createToken(file, { name: 'one', scopes: ['read'] });
    await removeToken(file, 'one');
    const { uid, gid, mode } = await stat(file);
    assert.deepEqual([uid, gid, mode & 0o777], [12_345, 12_346, 0o600]);
  });

  test('each token has its own share of requests a second', async () => {
    const first = await createToken(tokens, { name: 'first', scopes: ['read'] });
    const second = await createToken(tokens, { name: 'second', scopes: ['read'] });
    await using api = await startApi({ ...env, DRAY_API_TOKENS: tokens, DRAY_API_RATE: '5' });
    const ask = (token: string) => api.call('GET', '/v1/nodes', { token });
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(first)));
    const refused = answers.filter(({ status }) => status === 429);
    assert.ok(refused.length >= 10, `${refused.length} of 20 were refused`);
    assert.ok(20 - refused.length >= 5, 'what is not too much is answered');
    assert.equal(refused[0]?.json.code, 'RATE_LIMITED');
    assert.ok(Number(refused[0]?.headers.get('retry-after')) > 0);
    assert.equal((await ask(second)).status, 200);
    assert.equal((await api.call('GET', '/livez')).status, 200);
  });

  test('of requests that come at once, so many are answered as are allowed, no fewer', async () => {
    const token = await createToken(tokens, { name: 'bursts', scopes: ['read'] });
    await using api = await startApi({ ...env, DRAY_API_TOKENS: tokens, DRAY_API_RATE: '5' });
    const { host, hostname, port } = new URL(api.url);
    const request = `GET /v1/nodes HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${token}\r\n`;
    const last = request.replace('/v1/nodes', '/livez');
    // In one packet: all of them are under way before the first is counted.
    const socket = connect(Number(port), hostname);
    socket.write(`${`${request}\r\n`.repeat(12)}${last}connection: close\r\n\r\n`);
    const answers = (await text(socket)).split(/(?=HTTP\/1\.1 )/);
    const told = answers
      .slice(0, 12)
      .map((answer) => [
        Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]),
        Number(/^ratelimit-remaining: (\d+)/m.exec(answer)?.[1]),
      ]);
    assert.deepEqual(told, [
      ...[4, 3, 2, 1, 0].map((remaining) => [200, remaining]),
      ...Array.from({ length: 7 }, () => [429, 0]),
    ]);
  });

  test('bull-board opens for an admin, by a cookie that counts there alone', async () => {
    const admin = await createToken(tokens, { name: 'admin', scopes: ['admin'] });
    const puller = await createToken(tokens, { name: 'puller', scopes: ['pull'] });
    await using api = await startApi({ ...env, DRAY_API_TOKENS: tokens });
    assert.equal((await api.call('GET', '/board/api/queues')).status, 401);
    assert.equal((await api.call('POST', '/board/session', { token: puller })).status, 403);
    const { status, headers } = await api.call('POST', '/board/session', { token: admin });
    const cookie = headers.get('set-cookie') ?? '';
    assert.equal(status, 204);
    assert.match(cookie, /Path=\/board; HttpOnly; SameSite=Strict$/);
    const sent = { headers: { cookie: cookie.split(';')[0] ?? '' } };
    const queues = await api.call('GET', '/board/api/queues', sent);
    assert.deepEqual(
      (queues.json.queues as { name: string }[]).map(({ name }) => name),
      ['resolve', 'fetch-blob', 'gc', 'webhook'],
    );
    const closed = await fetch(`${api.url}/board`, {
      headers: { accept: 'text/html' },
      redirect: 'manual',
    });
    assert.deepEqual([closed.status, closed.headers.get('location')], [302, '/']);
    const page = await fetch(`${api.url}/board`, sent);
    assert.match(await page.text(), /drayage: jobs/);
    assert.equal(page.headers.get('content-security-policy')?.includes("script-src 'self'"), true);
    assert.equal((await api.call('GET', '/v1/nodes', sent)).status, 401);
    const evil = { headers: { ...sent.headers, origin: 'https://evil.example' } };
    assert.equal((await api.call('GET', '/board/api/queues', evil)).status, 403);
  });
});

describe('the API over https', () => {
  test('with an authority for clients, only who has its certificate gets in', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'dray-tls-'));
    const servers = await makeAuthority('servers');
    const clients = await makeAuthority('clients');
    const redis = await startRedis();
    try {
      const own = await servers.issue('api', ['IP:127.0.0.1']);
      const client = await clients.issue('ci');
      const stranger = await servers.issue('stranger');
      const file = async (name: string, text: string) => {
        await writeFile(path.join(folder, name), text);
        return path.join(folder, name);
      };
      await using api = await startApi({
        REDIS_URL: redis.url,
        DRAY_STATE: folder,
        DRAY_API_TLS_CERT: await file('cert.pem', own.certificate),
        DRAY_API_TLS_KEY: await file('key.pem', own.key),
        DRAY_API_CLIENT_CA: await file('clients.pem', clients.certificate),
      });
      const ask = async (shown?: Issued) =>
        await statusOf(
          `${api.url}/v1/nodes`,
          'GET',
          {},
          {
            ca: servers.certificate,
            ...(shown === undefined ? {} : { cert: shown.certificate, key: shown.key }),
          },
        );
      assert.equal(await ask(client), 200);
      await assert.rejects(ask(stranger), /alert|reset|hang up/);
      await assert.rejects(ask(), /alert|reset|hang up/);
    } finally {
      await redis[Symbol.asyncDispose]();
      await servers[Symbol.asyncDispose]();
      await clients[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** fetch lets nobody set Host. */
async function statusOf(
  url: string,
  method: string,
  headers: Record<string, string>,
  tls: TlsOptions = {},
): Promise<number | undefined> {
  return await new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? httpsRequest : httpRequest;
    send(url, { method, headers, ...tls }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .once('error', reject)
      .end();
  });
}
