import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DrayError } from '../../../../shared/errors.ts';
import { until } from '../../../support/until.ts';
import { assertNothingLeft, startTestAgent, type TestAgent } from './agent.ts';
import { imageName, outputOf, requireContainers } from './node.ts';

const script = (text: string) => ({ args: ['/bin/sh', '-c', text] });

async function textOf(agent: TestAgent, id: string): Promise<string> {
  const logs = (name: string, options: object) => agent.client.containers.logs(name, options);
  return (await outputOf({ logs }, id)).stdout.toString();
}

describe('containers outlive their agent', () => {
  test('one that runs on is found again: nothing of its output is lost, its exit code is known', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    const options = script(
      'trap "end=1" USR1; while [ -z "$end" ]; do i=$((i + 1)); echo $i; sleep 0.05; done; exit 5',
    );
    await client.containers.create({ id: 'lasting', image: imageName, options });
    await client.containers.start('lasting');
    const { pid } = await client.containers.inspect('lasting');
    const lines = async () => {
      const { output } = await client.containers.logs('lasting');
      const chunks = await Array.fromAsync(output);
      return (
        Buffer.concat(chunks.map(({ bytes }) => bytes))
          .toString()
          .split('\n').length - 1
      );
    };
    while ((await lines()) < 3) await sleep(20);
    const before = await lines();
    await agent.kill();
    await sleep(300);
    await agent.start();
    const found = await client.containers.inspect('lasting');
    assert.deepEqual([found.state, found.pid], ['running', pid]);
    while ((await lines()) < before + 3) await sleep(20);
    await client.containers.kill('lasting', 'SIGUSR1');
    assert.equal((await client.containers.wait('lasting')).exitCode, 5);
    const length = await lines();
    const wanted = `${Array.from({ length }, (_, i) => i + 1).join('\n')}\n`;
    assert.equal(await textOf(agent, 'lasting'), wanted);
  });

  test('one that ended while no agent was there has its exit code; --rm removes it', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    const options = script('sleep 0.3; echo done; exit 9');
    await client.containers.create({ id: 'kept', image: imageName, options });
    await client.containers.create({ id: 'brief', image: imageName, options, autoRemove: true });
    await client.containers.start('kept');
    await client.containers.start('brief');
    const { pid } = await client.containers.inspect('kept');
    await agent.kill();
    await until('its end', () => !existsSync(`/proc/${pid}`));
    await agent.start();
    assert.equal((await client.containers.wait('kept')).exitCode, 9);
    assert.equal(await textOf(agent, 'kept'), 'done\n');
    await until('that it is removed', async () => (await client.containers.list()).length === 1);
    assert.equal((await client.containers.wait('brief')).exitCode, 9);
    while ((await readFile('/proc/self/mountinfo', 'utf8')).includes(agent.root)) await sleep(20);
  });

  test('a monitor that is killed is noticed: the container has ended, and its code is not known', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    await client.containers.create({ id: 'orphan', image: imageName, options: script('sleep 60') });
    await client.containers.start('orphan');
    const [instance = ''] = await readdir(path.join(agent.root, 'containers'));
    const file = path.join(agent.root, 'containers', instance, 'conmon.pid');
    const { pid = 0 } = await client.containers.inspect('orphan');
    process.kill(Number(await readFile(file, 'utf8')), 'SIGKILL');
    process.kill(pid, 'SIGKILL');
    const { exitCode, error } = await client.containers.wait('orphan');
    assert.equal(exitCode, 255);
    assert.match(error ?? '', /monitor/);
  });

  test('an agent that is killed at any moment of a start leaves nothing that the next does not mend', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    for (const delay of [0, 4, 12, 25, 40, 60]) {
      const id = `at-${delay}`;
      await client.containers.create({ id, image: imageName, options: script('sleep 60') });
      const started = client.containers.start(id).catch(() => undefined);
      await sleep(delay);
      await agent.kill();
      await started;
      await agent.start();
      const { state } = await client.containers.inspect(id);
      assert(['created', 'running', 'exited'].includes(state), `${id} is ${state}`);
      await client.containers.remove(id, { force: true });
    }
    await assertNothingLeft(agent);
  });

  test('an agent that is killed at any moment of a creation, a stop or a removal: who asks the next one gets it done', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    const create = (id: string) =>
      client.containers.create({ id, image: imageName, options: script('sleep 600') });
    /** What is asked, and how it is said that it was done already. */
    const acts: Record<string, [ask: (id: string) => Promise<unknown>, done: string]> = {
      create: [create, 'CONFLICT'],
      stop: [(id) => client.containers.stop(id, { timeout: 0 }), 'no error'],
      remove: [(id) => client.containers.remove(id, { force: true }), 'NOT_FOUND'],
    };
    for (const [name, [ask, done]] of Object.entries(acts)) {
      for (const delay of [0, 8, 30]) {
        const id = `${name}-${delay}`;
        if (name !== 'create') {
          await create(id);
          await client.containers.start(id);
        }
        const asked = ask(id).catch(() => undefined);
        await sleep(delay);
        await agent.kill();
        await asked;
        await agent.start();
        await ask(id).catch((error: unknown) => {
          assert.ok(error instanceof DrayError && error.code === done, `${id}: ${error}`);
        });
        if (name === 'stop') {
          const { state, exitCode } = await client.containers.inspect(id);
          assert.deepEqual([state, exitCode], ['exited', 137], id);
        }
        if (name !== 'remove') await client.containers.remove(id, { force: true });
      }
    }
    await assertNothingLeft(agent);
  });
});
