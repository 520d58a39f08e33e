import assert from 'node:assert/strict';
import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { Context } from '../../../../producer/cli/context.ts';
import { removeSnapshots } from '../../../../producer/cli/node-storage.ts';
import { startTestAgent } from './agent.ts';
import { imageName, requireContainers } from './node.ts';

describe('what a node keeps beside its containers', () => {
  test('volumes: listed with who has them, which keeps them; removed; what a crash left goes', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    const folder = path.join(agent.root, 'volumes');
    const make = (id: string, source: string) =>
      client.containers.create({
        id,
        image: imageName,
        options: { args: ['true'], mounts: [{ type: 'volume', source, target: '/data' }] },
      });
    for (const _ of [1, 2]) assert.equal((await client.createVolume('shared')).name, 'shared');
    await assert.rejects(client.createVolume('../up'), { code: 'CONFIG_INVALID' });
    await make('a', 'shared');
    await make('b', 'shared');
    await make('c', 'other');
    const users = async () =>
      Object.fromEntries((await client.listVolumes()).map(({ name, usedBy }) => [name, usedBy]));
    assert.deepEqual(await users(), { other: ['c'], shared: ['a', 'b'] });
    await assert.rejects(client.removeVolume('shared'), { code: 'CONFLICT', message: /a, b/ });
    for (const id of ['a', 'b']) await client.containers.remove(id);
    await client.removeVolume('shared');
    assert.deepEqual(await users(), { other: ['c'] });
    for (const name of ['shared', '..', '.', 'a/b', '../volumes/other']) {
      await assert.rejects(client.removeVolume(name), { code: 'NOT_FOUND' });
    }
    await mkdir(path.join(folder, '.gone-by-a-crash', 'content'), { recursive: true });
    await agent.kill();
    await agent.start();
    assert.deepEqual(await readdir(folder), ['other']);
  });

  test('a snapshot is removed by its key, or by the first digits of its chainID', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const [chainID = ''] = (await agent.client.listSnapshots()).map(({ name }) => name);
    assert.match(chainID, /^sha256:/);
    const context = { agent: async () => agent.client } as unknown as Context;
    await agent.client.prepareSnapshot({ key: 'scratch', image: imageName });
    const short = chainID.slice(0, 'sha256:'.length + 12);
    await assert.rejects(removeSnapshots(context, [short]), { code: 'CONFLICT' });
    await assert.rejects(removeSnapshots(context, ['sha256:0123456789ab']), { code: 'NOT_FOUND' });
    await removeSnapshots(context, ['scratch', short]);
    assert.deepEqual(await agent.client.listSnapshots(), []);
  });

  test('what the agent does not know is said to be of another version', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { exchange } = await import('../../../../producer/agent/exchange.ts');
    const { answer, close } = await exchange(
      { socketPath: agent.socket },
      { method: 'POST', path: '/v1/containers/levitate?high=true', body: {} },
    );
    const { text } = await import('node:stream/consumers');
    const { error } = JSON.parse(await text(answer)) as { error: Record<string, string> };
    close();
    assert.equal(answer.statusCode, 404);
    assert.equal(error.code, 'VERSION_MISMATCH');
    assert.match(error.message ?? '', /does not know POST \/v1\/containers\/levitate: /);
  });
});
