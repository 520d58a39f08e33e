import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DrayageClient } from '../../../producer/client/client.ts';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import type { TestProgram } from '../../support/programs.ts';
import { pushImage, randomLayer } from '../../support/push.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { dray } from '../cli/dray.ts';
import { startApi, type TestApi } from './support.ts';

describe('the API of nodes, rollouts and desired sets', { skip: process.getuid?.() !== 0 }, () => {
  let registry: TestRegistry;
  let fleet: TestFleet;
  let api: TestApi;
  let client: DrayageClient;
  let second: TestProgram;
  let reference: string;
  let digest: string;

  before(async () => {
    registry = await startRegistry();
    fleet = await startFleet();
    await fleet.startWorker('w1');
    [, second] = await Promise.all([
      fleet.startAgent('n1', { DRAY_LABELS: 'zone=a' }),
      fleet.startAgent('n2', { DRAY_LABELS: 'zone=b' }),
    ]);
    api = await startApi(fleet.env);
    client = new DrayageClient({ url: api.url });
    const tar = await randomLayer(50_000);
    const image = await pushImage(registry.host, 'rolled', 'v1', [tar]);
    ({ reference, digest } = image);
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
  });

  async function ended(id: string) {
    let last: Awaited<ReturnType<typeof client.getPull>> | undefined;
    for await (const pull of client.waitForPull(id)) last = pull;
    return last;
  }

  test('nodes are chosen, cordoned, drained and removed', async () => {
    const nodes = (await api.call('GET', '/v1/nodes?selector=zone%3Da')).json.items as object[];
    assert.equal(nodes.length, 1);
    const [node] = await client.listNodes();
    assert.equal(node?.name, 'n1');
    assert.deepEqual(node?.labels, { zone: 'a' });
    assert.ok((node?.capacity.cpus ?? 0) > 0 && (node?.disk.diskFree ?? 0) > 0);
    assert.equal((await client.markNode('n1', 'cordon')).mark, 'cordoned');
    await assert.rejects(client.pull({ reference, nodes: ['n1'] }), { code: 'CONFLICT' });
    assert.equal((await client.markNode('n1', 'drain')).mark, 'drained');
    assert.equal((await client.markNode('n1', 'uncordon')).mark, undefined);
    await assert.rejects(client.markNode('n9', 'cordon'), { code: 'NOT_FOUND' });
    await assert.rejects(client.removeNode('n1'), { code: 'CONFLICT' });
    assert.equal((await api.call('GET', '/v1/nodes?selector=zone%3D%3D%3Da')).status, 400);
    const listed = await dray(['nodes', '-o', 'json', '-l', 'zone in (b)'], { env: fleet.env });
    assert.deepEqual(
      (JSON.parse(listed.stdout) as { name: string }[]).map(({ name }) => name),
      ['n2'],
    );
  });

  test('a pull goes to the nodes of a selector, is paused and resumed, and followed by its changes', async () => {
    const { id } = await client.pull({ reference, selector: 'zone=a', pace: { parallelism: 1 } });
    const pull = await ended(id);
    assert.equal(pull?.state, 'ready');
    assert.deepEqual(
      pull?.nodes.map(({ name, state }) => [name, state]),
      [['n1', 'ready']],
    );
    assert.deepEqual(pull?.pace, { parallelism: 1 });
    await assert.rejects(client.pausePull(id), { code: 'CONFLICT' });
    // Nobody takes n2's job: it goes on until it is told to end.
    await second.stop();
    const other = await client.pull({ reference, selector: 'name=n2' });
    assert.equal((await client.pausePull(other.id)).paused, true);
    assert.equal((await client.resumePull(other.id)).paused, false);
    assert.equal((await client.cancelPull(other.id)).state, 'cancelled');
    assert.equal((await ended(other.id))?.nodes[0]?.state, 'stopped');
    second = await fleet.startAgent('n2', { DRAY_LABELS: 'zone=b' });
    const refused = await api.call('POST', '/v1/pulls', {
      body: { reference, selector: 'zone=a', pace: { parallelism: 0 } },
    });
    assert.deepEqual([refused.status, refused.json.code], [400, 'USAGE']);
  });

  test('a desired set is put, shown and removed', async () => {
    const { set, pull } = await client.putDesiredSet('web', {
      ...{ reference, selector: '', schedule: '0 3 * * *' },
      retention: { previous: 2 },
    });
    assert.equal(set.name, 'web');
    assert.equal((await ended(pull))?.state, 'ready');
    const shown = await client.getDesiredSet('web');
    assert.equal(shown.current?.target.digest, digest);
    assert.equal(shown.retention.previous, 2);
    assert.match(shown.nextLook ?? '', /T03:00:00/);
    assert.deepEqual(shown.nodes, { total: 2, ready: 2 });
    assert.deepEqual(
      (await client.listDesiredSets()).map(({ name }) => name),
      ['web'],
    );
    const { stdout } = await dray(['desired'], { env: fleet.env });
    assert.match(stdout, /^web +\S+\/rolled:v1 +\(all\) +2\/2 +0 3 \* \* \*/m);
    for (const [body, code] of [
      [{ reference, selector: '', schedule: 'often' }, 'USAGE'],
      [{ reference, selector: 'a b' }, 'USAGE'],
      [{ reference: `${registry.host}/other:v1`, selector: '' }, 'CONFLICT'],
    ] as const) {
      await assert.rejects(client.putDesiredSet('web', body), { code });
    }
    await client.removeDesiredSet('web');
    await assert.rejects(client.getDesiredSet('web'), { code: 'NOT_FOUND' });
    await assert.rejects(client.removeDesiredSet('web'), { code: 'NOT_FOUND' });
  });
});
