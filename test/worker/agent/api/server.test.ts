import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { request } from 'node:http';
import { describe, test } from 'node:test';
import { AgentClient } from '../../../../producer/agent/client.ts';
import { startTestAgent } from '../containers/agent.ts';
import { imageName, requireContainers } from '../containers/node.ts';

describe('the API of the agent', () => {
  test('every refusal is an encoded error with a fitting status', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    /** @param body a text, or the length of one that is announced and not sent */
    const call = async (method: string, path: string, body?: string | number) => {
      const answer = Promise.withResolvers<[number, string]>();
      const headers = {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(typeof body === 'number' ? { 'content-length': body } : {}),
      };
      const sent = request({ socketPath: agent.socket, method, path, headers }, (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => {
          const { error } = JSON.parse(text === '' ? '{}' : text);
          answer.resolve([response.statusCode ?? 0, error?.code ?? '']);
        });
      });
      sent.on('error', answer.reject);
      if (typeof body === 'number') sent.flushHeaders();
      else sent.end(body);
      return await answer.promise;
    };
    const create = (body: object) => call('POST', '/v1/containers', JSON.stringify(body));
    const image = imageName;
    assert.equal((await stat(agent.socket)).mode & 0o777, 0o660);
    assert.deepEqual(await call('GET', '/v1/health'), [200, '']);
    assert.deepEqual(await call('GET', '/v1/nothing'), [404, 'VERSION_MISMATCH']);
    assert.deepEqual(await call('GET', '/v1/containers/nobody'), [404, 'NOT_FOUND']);
    for (const id of ['..%2f..%2fetc', '-x', 'a%00b', '%2e%2e']) {
      assert.deepEqual(await call('GET', `/v1/containers/${id}`), [400, 'USAGE'], id);
    }
    assert.deepEqual(await create({ id: '../x', image }), [400, 'USAGE']);
    assert.deepEqual(await create({ id: 'x', image, surplus: 1 }), [400, 'USAGE']);
    assert.deepEqual(await create({ id: 'x', image, options: { args: [1] } }), [400, 'USAGE']);
    assert.deepEqual(await call('POST', '/v1/containers', '{'), [400, 'USAGE']);
    assert.deepEqual(await create({ id: 'x', image }), [422, 'COMMAND_MISSING']);
    const env = [`A=${'x'.repeat(1024 * 1024)}`];
    assert.deepEqual(await create({ id: 'x', image, options: { args: ['true'], env } }), [
      422,
      'CONFIG_INVALID',
    ]);
    assert.deepEqual(await call('POST', '/v1/containers', 5 * 1024 * 1024), [413, 'USAGE']);
    assert.deepEqual(await call('POST', '/v1/unpack', '{"digest":"sha256:1"}'), [400, 'USAGE']);
    assert.deepEqual(await create({ id: 'x', image, options: { args: ['true'] } }), [201, '']);
    assert.deepEqual(await create({ id: 'x', image }), [409, 'CONFLICT']);
    assert.deepEqual(await call('POST', '/v1/containers/x/kill', '{"signal":"TERM"}'), [
      409,
      'CONFLICT',
    ]);
    assert.deepEqual(await call('DELETE', '/v1/containers/x'), [204, '']);
  });

  test('snapshots are listed, prepared and removed; a layer streams to its folder', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    const { key, mounts } = await client.prepareSnapshot({ key: 'mine', image: imageName });
    assert.equal(key, 'mine');
    assert.equal(mounts[0]?.type, 'overlay');
    const listed = await client.listSnapshots();
    assert.deepEqual(
      listed.map(({ kind }) => kind),
      ['committed', 'active'],
    );
    await client.removeSnapshot('mine');
    await assert.rejects(client.removeSnapshot('mine'), { code: 'NOT_FOUND' });
    await assert.rejects(client.removeSnapshot('../../etc'), { code: 'NOT_FOUND' });
    async function* layer() {
      for (let i = 0; i < 64; i++) yield Buffer.alloc(100_000);
    }
    await assert.rejects(client.apply(layer(), '/some/where'), {
      code: 'LAYER_INVALID',
      message: '6400000 bytes for /some/where',
    });
  });

  test('an agent that is not there is told as such', async () => {
    const client = new AgentClient({ socketPath: '/run/no-such-agent.sock' });
    await assert.rejects(client.health(), { code: 'AGENT_UNAVAILABLE', retryable: true });
  });
});
