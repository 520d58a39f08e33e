import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AgentClient } from '../../producer/agent/client.ts';
import { partsOf, runningPart } from '../../producer/embedded/parts.ts';
import { loadConfig } from '../../shared/config/load.ts';
import { newPullId } from '../../shared/pull/id.ts';
import { Pulls } from '../../shared/pull/pulls.ts';
import { connectRedis } from '../../shared/queue/connection.ts';
import { startDray } from '../support/dray.ts';
import { startFleet } from '../support/fleet.ts';
import { pushImage, randomLayer, tarOf } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { startSlowLink } from '../support/slow-link.ts';
import { until } from '../support/until.ts';

describe('a pull to the own node', () => {
  test('goes by its agent; when that dies, the command goes on by Redis, and the agent is started again', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
    await using registry = await startRegistry();
    await using link = await startSlowLink(registry.host, { bytesPerSecond: 1_000_000 });
    const tar = await randomLayer(4_000_000);
    await pushImage(registry.host, 'app', 'v1', [tar], { compression: 'none' });
    await using fleet = await startDray();
    await fleet.dray('up');
    const config = loadConfig({ env: fleet.env });
    const redis = connectRedis(config.redis, { name: 'test' });
    await using end = new AsyncDisposableStack();
    end.defer(() => redis.disconnect());
    const commands = async () => {
      const list = String(await redis.client('LIST'));
      return list.split('\n').filter((line) => line.includes('name=dray-cli ')).length;
    };

    const pulling = fleet.tryDray('pull', '--progress', 'plain', `${link.host}/app:v1`);
    const pulls = new Pulls(redis, config.redis.prefix);
    const id = await until(
      'the pull',
      async () => (await redis.zrange(pullsOf(config.redis.prefix), '0', '-1'))[0],
    );
    await until('bytes', async () =>
      (await pulls.get(id))?.blobs.some(({ bytes }) => bytes > 500_000),
    );
    assert.equal(await commands(), 0, 'the command has a connection to Redis');
    const agent = partsOf(config).find(({ name }) => name === 'agent');
    const { pid } = (agent && runningPart(agent)) ?? {};
    assert.ok(pid !== undefined, 'no agent runs');
    process.kill(pid, 'SIGKILL');
    await until('commands', async () => (await commands()) > 0);
    const { exitCode, stderr } = await pulling;
    assert.equal(exitCode, 0, stderr);
    assert.equal((await pulls.get(id))?.state, 'ready');
    assert.deepEqual(await redis.zrange(pullsOf(config.redis.prefix), '0', '-1'), [id]);
  });

  test('is one, however often it is asked for; what is wrong with it is said', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
    await using registry = await startRegistry();
    await pushImage(registry.host, 'app', 'v1', [await tarOf([{ name: 'a', content: 'a' }])]);
    await using fleet = await startFleet({});
    await fleet.startWorker('w1');
    await fleet.startAgent('n1', { DRAY_AGENT_SOCKET: `${fleet.folder}/agent.sock` });
    const agent = new AgentClient({ socketPath: `${fleet.folder}/agent.sock` });
    const request = { id: newPullId(), reference: `${registry.host}/app:v1` };
    await Promise.all([agent.pull(request), agent.pull(request)]);
    const states: string[] = [];
    for await (const status of agent.watchPull(request.id)) {
      assert.ok(status.createdAt instanceof Date);
      states.push(status.state);
    }
    assert.equal(states.at(-1), 'ready');
    assert.deepEqual(
      (await fleet.pulls.get(request.id))?.nodes.map(({ name }) => name),
      ['n1'],
    );
    const bad = [
      [{ ...request, reference: 'UPPER/..' }, 'REFERENCE_INVALID'],
      [{ ...request, id: '{dray}:x' }, 'USAGE'],
      [{ ...request, platform: 'x' }, 'PLATFORM_INVALID'],
      [{ ...request, nodes: ['n2'] }, 'USAGE'],
    ] as const;
    for (const [body, code] of bad) await assert.rejects(agent.pull(body), { code });
    for await (const _ of agent.watchPull(newPullId())) assert.fail('there is no such pull');
  });
});

function pullsOf(prefix: string): string {
  return `${prefix}:dray:pulls`;
}
