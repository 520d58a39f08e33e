import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { clientTypes } from '../../../producer/api/client-types.ts';
import { createToken } from '../../../shared/access/tokens.ts';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { pushImage, randomLayer } from '../../support/push.ts';
import { registryUser, startRegistry, type TestRegistry } from '../../support/registry.ts';
import { type SlowLink, startSlowLink } from '../../support/slow-link.ts';
import { until } from '../../support/until.ts';
import { startApi, type TestApi } from './support.ts';

const producer = path.resolve(import.meta.dirname, '../../../producer');
const committed = path.join(producer, 'api/openapi.json');
const committedTypes = path.join(producer, 'client/api.ts');

describe('the HTTP API', () => {
  let registry: TestRegistry;
  let link: SlowLink;
  let fleet: TestFleet;
  let api: TestApi;
  let reference: string;
  let digest: string;

  before(async () => {
    registry = await startRegistry();
    link = await startSlowLink(registry.host, { bytesPerSecond: 100_000_000 });
    fleet = await startFleet();
    await fleet.startWorker('w1', { DRAY_CREDENTIALS: path.join(fleet.folder, 'names') });
    api = await startApi(fleet.env);
    const tar = await randomLayer(2_000_000);
    const image = await pushImage(registry.host, 'api', 'v1', [tar], { compression: 'none' });
    reference = `${link.host}/api:v1`;
    digest = image.digest;
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    await link[Symbol.asyncDispose]();
    await registry.stop();
  });

  async function create(body: unknown = { reference }): Promise<string> {
    const { status, json } = await api.call('POST', '/v1/pulls', { body });
    assert.equal(status, 202, JSON.stringify(json));
    return String(json.id);
  }

  test('a pull is created, got, listed, and its image is there', async () => {
    const { status, headers, json } = await api.call('POST', '/v1/pulls', { body: { reference } });
    assert.equal(status, 202);
    assert.equal(headers.get('location'), `/v1/pulls/${json.id}`);
    assert.match(String(json.state), /^(queued|resolving)$/);
    assert.equal((await fleet.ended(String(json.id))).state, 'ready');
    const got = await api.call('GET', `/v1/pulls/${json.id}`);
    assert.equal(got.json.state, 'ready');
    assert.equal((got.json.target as { digest: string }).digest, digest);
    const images = (await api.call('GET', '/v1/images')).json.items as { name: string }[];
    assert.deepEqual(
      images.map(({ name }) => name),
      [reference],
    );
    await create();
    const page = (await api.call('GET', '/v1/pulls?limit=1')).json;
    const next = (await api.call('GET', `/v1/pulls?limit=1&cursor=${page.next}`)).json;
    assert.equal((next.items as { id: string }[])[0]?.id, json.id);
    assert.equal(next.next, undefined);
  });

  test('92: the same idempotency key with another body is a conflict, with the same it is the same pull', async () => {
    const headers = { 'idempotency-key': randomBytes(8).toString('hex') };
    const post = (body: unknown) => api.call('POST', '/v1/pulls', { body, headers });
    const [first, second] = await Promise.all([post({ reference }), post({ reference })]);
    assert.deepEqual([first.status, second.status], [202, 202]);
    assert.equal(first.json.id, second.json.id);
    assert.equal((await fleet.ended(String(first.json.id))).state, 'ready');
    assert.equal((await post({ reference })).json.state, 'ready', 'nothing begins anew');
    const other = await post({ reference: `${link.host}/other:v1` });
    assert.deepEqual([other.status, other.json.code], [409, 'CONFLICT']);
  });

  test('89 and 91: what is malformed or too large is refused as a problem', async () => {
    for (const [body, code, status] of [
      [{ reference: 'lower/CASE' }, 'REFERENCE_INVALID', 400],
      [{ reference, platform: 'amd64' }, 'PLATFORM_INVALID', 400],
      [{ reference, extra: 1 }, 'USAGE', 400],
      [{ reference: 7 }, 'USAGE', 400],
      [{ reference, nodes: ['nowhere'] }, 'NOT_FOUND', 404],
      [{ reference, credential: '../../etc/passwd' }, 'USAGE', 400],
      [{ reference: 'x'.repeat(2_000_000) }, 'USAGE', 413],
    ] as const) {
      const answer = await api.call('POST', '/v1/pulls', { body });
      assert.deepEqual([answer.status, answer.json.code], [status, code]);
      assert.equal(answer.headers.get('content-type')?.split(';')[0], 'application/problem+json');
      assert.equal(typeof answer.json.detail, 'string');
    }
    assert.equal((await api.call('GET', '/v1/pulls/nosuchpull')).status, 404);
    assert.equal((await api.call('GET', '/v1/pulls/..%2F..%2Fetc')).status, 400);
    assert.equal((await api.call('GET', '/nowhere')).status, 404);
  });

  test('a pull names the login that the workers use; one that they do not have fails it', async () => {
    await using closed = await startRegistry({ htpasswd: true });
    await closed.push('team/app', 'v1', { layers: [randomBytes(1_000)] });
    const { username, password } = registryUser;
    const auth = Buffer.from(`${username}:${password}`).toString('base64');
    const folder = path.join(fleet.folder, 'names');
    await mkdir(folder, { recursive: true });
    await writeFile(
      path.join(folder, 'team.json'),
      JSON.stringify({ auths: { [closed.host]: { auth } } }),
    );
    const ended = async (credential?: string) => {
      const body = { reference: `${closed.host}/team/app:v1`, credential };
      return await fleet.ended(await create(body));
    };
    assert.equal((await ended()).error?.code, 'UNAUTHORIZED');
    assert.equal((await ended('nobodys')).error?.code, 'NOT_FOUND');
    const { state, error } = await ended('team');
    assert.equal(state, 'ready', JSON.stringify(error));
  });

  test('events follow a pull to its end; who comes back gets what is newer', async () => {
    link.setRate(1_000_000);
    await fleet.redis.flushall();
    const tar = await randomLayer(1_500_000);
    await pushImage(registry.host, 'events', 'v1', [tar], { compression: 'none' });
    const id = await create({ reference: `${link.host}/events:v1` });
    const events = await eventsOf(`${api.url}/v1/pulls/${id}/events`);
    link.setRate(100_000_000);
    assert.equal(events.at(-1)?.state, 'ready');
    assert.ok(events.some(({ state }) => state === 'fetching'));
    const [again] = await eventsOf(`${api.url}/v1/pulls/${id}/events`, events.at(-1)?.id);
    assert.deepEqual(again, events.at(-1), 'the end is told again');
    const middle = events.find(({ state }) => state === 'fetching');
    const rest = await eventsOf(`${api.url}/v1/pulls/${id}/events`, middle?.id);
    assert.equal(rest.at(-1)?.state, 'ready');
  });

  test('a pull is cancelled; one that has ended is not', async () => {
    link.setRate(0);
    const id = await create({ reference: `${link.host}/never:v1` });
    const { status, json } = await api.call('POST', `/v1/pulls/${id}/cancel`);
    const now = await fleet.pulls.get(id);
    assert.deepEqual([status, json.state], [200, 'cancelled'], JSON.stringify(now?.error));
    assert.equal((await api.call('POST', `/v1/pulls/${id}/cancel`)).status, 200);
    link.setRate(100_000_000);
    const ready = await create();
    await fleet.ended(ready);
    assert.equal((await api.call('POST', `/v1/pulls/${ready}/cancel`)).status, 409);
  });

  test('queues and nodes are shown', async () => {
    const queues = (await api.call('GET', '/v1/queues')).json.items as {
      name: string;
      workers: number;
    }[];
    assert.deepEqual(
      queues.map(({ name, workers }) => [name, workers]),
      [
        ['resolve', 1],
        ['fetch-blob', 1],
        ['gc', 1],
        ['webhook', 1],
      ],
    );
    assert.deepEqual((await api.call('GET', '/v1/nodes')).json.items, []);
  });

  test('tokens: none, unknown, expired, of too small a scope, removed', async () => {
    const tokens = path.join(fleet.folder, 'tokens.json');
    const reader = await createToken(tokens, { name: 'reader', scopes: ['read'] });
    const puller = await createToken(tokens, { name: 'puller', scopes: ['pull'] });
    const expiresAt = new Date(Date.now() - 1000);
    const old = await createToken(tokens, { name: 'old', scopes: ['admin'], expiresAt });
    await using guarded = await startApi({ ...fleet.env, DRAY_API_TOKENS: tokens });
    const status = async (method: string, at: string, token?: string) => {
      const body = method === 'POST' ? { reference } : undefined;
      const sent = { ...(body && { body }), ...(token === undefined ? {} : { token }) };
      return (await guarded.call(method, at, sent)).status;
    };
    assert.equal(await status('GET', '/v1/pulls'), 401);
    assert.equal(await status('GET', '/v1/pulls', 'dray_unknown'), 401);
    assert.equal(await status('GET', '/v1/pulls', old), 401);
    assert.equal(await status('GET', '/v1/pulls', reader), 200);
    assert.equal(await status('POST', '/v1/pulls', reader), 403);
    assert.equal(await status('POST', '/v1/pulls', puller), 202);
    assert.equal(await status('GET', '/livez'), 200);
    const text = await readFile(tokens, 'utf8');
    for (const token of [reader, puller, old]) assert.ok(!text.includes(token.slice(5)));
    await writeFile(tokens, '{"tokens":[]}');
    const isRefused = async () => (await status('GET', '/v1/pulls', reader)) === 401;
    await until('that a token that was removed is refused', isRefused);
    await assert.rejects(
      startApi({ ...fleet.env, DRAY_API_LISTEN: '0.0.0.0:0' }),
      /open to everybody.*dray token create/s,
    );
  });

  test('while Redis is down, requests are answered 503 within a deadline', async () => {
    await fleet.server.kill();
    try {
      const begun = performance.now();
      const answers = await Promise.all([
        api.call('POST', '/v1/pulls', { body: { reference } }),
        api.call('GET', '/v1/pulls'),
        api.call('GET', '/readyz'),
      ]);
      assert.deepEqual(
        answers.map(({ status, json }) => [status, json.code]),
        answers.map(() => [503, 'QUEUE_UNAVAILABLE']),
      );
      assert.ok(performance.now() - begun < 20_000);
      assert.equal((await api.call('GET', '/livez')).status, 200);
    } finally {
      await fleet.server.restart();
    }
  });

  test('the committed OpenAPI document is what is served, and the types of the client are made of it', async () => {
    const served = (await (await fetch(`${api.url}/openapi.json`)).json()) as object;
    const text = `${JSON.stringify(served, undefined, 2)}\n`;
    const types = clientTypes(served);
    // To take over a change: UPDATE_OPENAPI=1 node --test test/producer/api/api.test.ts
    if (process.env.UPDATE_OPENAPI === '1') {
      await writeFile(committed, text);
      await writeFile(committedTypes, types);
    }
    assert.equal(await readFile(committed, 'utf8'), text);
    assert.equal(await readFile(committedTypes, 'utf8'), types);
    const { schemas } = (served as { components: { schemas: Record<string, object> } }).components;
    for (const [name, schema] of Object.entries(schemas)) {
      assert.ok('type' in schema, `${name} says nothing: ${JSON.stringify(schema)}`);
    }
  });
});

interface SeenEvent {
  id: string;
  state: string;
}

/** All events of a stream up to its end. */
async function eventsOf(url: string, lastId?: string): Promise<SeenEvent[]> {
  const headers = lastId === undefined ? {} : { 'last-event-id': lastId };
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(30_000) });
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  const events: SeenEvent[] = [];
  for (const part of (await response.text()).split('\n\n')) {
    const [, id, data] = /^id: (\S+)\nevent: (?:pull|change)\ndata: (.*)$/.exec(part) ?? [];
    if (id === undefined || data === undefined) continue;
    events.push({ id, state: (JSON.parse(data) as { state: string }).state });
  }
  return events;
}
