import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Collection, DrayageClient } from '../../../producer/client/client.ts';
import { createToken } from '../../../shared/access/tokens.ts';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { pushImage, randomLayer } from '../../support/push.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { requireRoot, requireTool } from '../../support/requirements.ts';
import { startApi, type TestApi } from './support.ts';

const canRun = process.getuid?.() === 0;
const requireAll = (t: TestContext) =>
  requireRoot(t) && requireTool(t, 'docker-registry', 'redis-server', 'runc');

describe('garbage collection by the API', () => {
  let registry: TestRegistry;
  let fleet: TestFleet;
  let api: TestApi;
  let client: DrayageClient;
  let token: string;
  let reader: string;

  before(async () => {
    if (!canRun) return;
    registry = await startRegistry();
    fleet = await startFleet();
    const tokens = path.join(fleet.folder, 'api-tokens.json');
    token = await createToken(tokens, { name: 'admin', scopes: ['admin'] });
    reader = await createToken(tokens, { name: 'reader', scopes: ['read', 'pull', 'run'] });
    await fleet.startWorker('w1');
    await fleet.startAgent('n1');
    api = await startApi({ ...fleet.env, DRAY_API_TOKENS: tokens });
    client = new DrayageClient({ url: api.url, token });
  });
  after(async () => {
    if (!canRun) return;
    await api[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
  });

  const namesOf = ({ parts }: Collection, kind: string) =>
    parts
      .flatMap(({ report }) => report?.items ?? [])
      .filter((item) => item.kind === kind)
      .map(({ name }) => name)
      .sort();
  async function collected(request: Parameters<DrayageClient['collectGarbage']>[0]) {
    const { id } = await client.collectGarbage(request);
    return await client.waitForCollection(id, { signal: AbortSignal.timeout(30_000) });
  }

  test('a dry run says what would go of the store and of nodes, and why; another removes it', async (t) => {
    if (!requireAll(t)) return;
    const tar = await randomLayer(100_000);
    const image = await pushImage(registry.host, 'gone', 'v1', [tar]);
    const { id: pull } = await client.pull({ reference: image.reference, nodes: ['n1'] });
    assert.equal((await fleet.ended(pull)).state, 'ready');
    assert.deepEqual(namesOf(await collected({ graceMs: 0, dryRun: true }), 'blob'), []);

    await client.removeImage(image.reference);
    const dry = await collected({ graceMs: 0, dryRun: true });
    const blobs = [image.digest, image.config.digest, ...image.layers.map(({ digest }) => digest)];
    assert.deepEqual(namesOf(dry, 'blob'), blobs.sort());
    assert.equal(namesOf(dry, 'snapshot').length, 1);
    assert.deepEqual([dry.dryRun, dry.graceMs, dry.lost], [true, 0, []]);
    assert.deepEqual(
      dry.parts.map(({ part }) => part),
      ['store', 'node n1'],
    );
    const whys = dry.parts.map(({ report }) => report?.items[0]?.why ?? '');
    assert.match(whys[0] ?? '', /^no image, pull or desired set leads to it/);
    assert.match(whys[1] ?? '', /^no name leads to it any more; it was localhost:\d+\/gone:v1/);
    assert.equal((await Array.fromAsync(client.listContent())).length, blobs.length);
    // What is not old enough stays, and is counted.
    const young = await collected({ dryRun: true, store: true });
    assert.deepEqual(namesOf(young, 'blob'), []);
    assert.equal(young.parts[0]?.report?.kept[0]?.count, blobs.length);

    const onNode = await collected({ graceMs: 0, nodes: ['n1'] });
    assert.deepEqual(namesOf(onNode, 'snapshot'), namesOf(dry, 'snapshot'));
    assert.deepEqual(
      onNode.parts.map(({ part }) => part),
      ['node n1'],
    );
    assert.deepEqual(namesOf(await collected({ graceMs: 0 }), 'blob'), blobs.sort());
    assert.deepEqual(await Array.fromAsync(client.listContent()), []);
    assert.deepEqual(namesOf(await collected({ graceMs: 0 }), 'blob'), []);
  });

  test('is accepted before it is done, listed, and the same for the same key', async (t) => {
    if (!requireAll(t)) return;
    const body = { dryRun: true, store: true };
    const headers = { 'idempotency-key': 'nightly' };
    const first = await api.call('POST', '/v1/gc', { body, headers, token });
    assert.equal(first.status, 202);
    assert.equal(first.headers.get('location'), `/v1/gc/${first.json.id}`);
    const again = await api.call('POST', '/v1/gc', { body, headers, token });
    assert.equal(again.json.id, first.json.id);
    const other = await api.call('POST', '/v1/gc', { body: {}, headers, token });
    assert.deepEqual([other.status, other.json.code], [409, 'CONFLICT']);
    const done = await client.waitForCollection(String(first.json.id));

    const listed = await Array.fromAsync(client.listCollections());
    const [newest] = listed;
    assert.deepEqual(newest?.parts, [{ part: 'store', state: 'done' }]);
    assert.deepEqual([newest?.id, newest?.state, newest?.dryRun], [done.id, 'done', true]);
    assert.ok(listed.length > 1);
    const ids = listed.map(({ id }) => id);
    assert.deepEqual(ids, ids.toSorted().reverse());
    const page = await api.call('GET', '/v1/gc?limit=1', { token: reader });
    const rest = await api.call('GET', `/v1/gc?cursor=${page.json.next}`, { token: reader });
    assert.deepEqual(
      (rest.json.items as { id: string }[]).map(({ id }) => id),
      ids.slice(1),
    );
  });

  test('refuses who may not, unknown nodes, and what is no request', async (t) => {
    if (!requireAll(t)) return;
    const refused = async (as: string, body: unknown) => {
      const { status, json } = await api.call('POST', '/v1/gc', { token: as, body });
      return [status, json.code];
    };
    assert.deepEqual(await refused(reader, { dryRun: true }), [403, 'DENIED']);
    assert.deepEqual(await refused(token, { nodes: ['nowhere'] }), [404, 'NOT_FOUND']);
    assert.deepEqual(await refused(token, { graceMs: -1 }), [400, 'USAGE']);
    assert.deepEqual(await refused(token, { dryrun: true }), [400, 'USAGE']);
    await assert.rejects(client.getCollection('0000000000000'), { code: 'NOT_FOUND' });
    await assert.rejects(client.getCollection('../nodes'), { code: 'USAGE' });
  });

  test('while no worker takes it, it waits', async (t) => {
    if (!requireAll(t)) return;
    await using other = await startFleet();
    await using alone = await startApi(other.env);
    const { id, state } = await new DrayageClient({ url: alone.url }).collectGarbage();
    assert.equal(state, 'waiting');
    await sleep(300);
    const { json } = await alone.call('GET', `/v1/gc/${id}`);
    assert.deepEqual([json.state, json.parts], ['waiting', [{ part: 'store' }]]);
    await other.startWorker('late');
    const done = new DrayageClient({ url: alone.url });
    assert.equal((await done.waitForCollection(id)).state, 'done');
  });
});
