import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { StartedContainer } from '../../../../producer/agent/containers.ts';
import { until } from '../../../support/until.ts';
import { assertNothingLeft, startTestAgent } from './agent.ts';
import { heldRuntime } from './held-runtime.ts';
import { imageName, requireContainers } from './node.ts';

const request = (id: string, line: string) => ({
  id,
  image: imageName,
  options: { args: ['/bin/sh', '-c', line] },
  autoRemove: true,
});

describe('a container that is made, run and removed by one request', () => {
  test('its whole output, then its exit, by which its name is free; then nothing of it is left', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    for (const exitCode of [0, 5]) {
      const line = `echo out; echo err >&2; seq 20000; exit ${exitCode}`;
      const started = await agent.client.containers.run(request('brief', line));
      assert.equal(started.id, 'brief');
      const { stdout, stderr } = await readAll(started);
      assert.deepEqual([stdout.length, stderr], [108_898, 'err\n']);
      assert.deepEqual(started.exit(), { exitCode });
      await assertNothingLeft(agent);
    }
  });

  test('an agent that dies once the end was told leaves files to the next, which removes them', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    for (const _ of [1, 2, 3]) {
      const started = await agent.client.containers.run(request('brief', 'echo out'));
      assert.equal((await readAll(started)).stdout, 'out\n');
      await agent.kill();
      await agent.start();
      await assertNothingLeft(agent);
    }
  });

  test('a command that is not there: an error, and nothing is left once it is told', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const asked = { ...request('wrong', ''), options: { args: ['/bin/nothing'] } };
    for (const _ of [1, 2]) {
      await assert.rejects(agent.client.containers.run(asked), {
        code: 'RUNTIME_FAILED',
        context: { exitCode: 127 },
      });
      await assertNothingLeft(agent);
    }
  });

  for (const [moment, command] of Object.entries({ made: 'create', started: 'start' })) {
    test(`who leaves while it is ${moment} leaves nothing of it`, async (t) => {
      if (!requireContainers(t)) return;
      await using agent = await startTestAgent();
      const held = await heldRuntime(agent.root, command);
      const leave = new AbortController();
      const asked = request('left', 'sleep 600');
      const options = { ...asked.options, runtime: held.program };
      const started = agent.client.containers.run({ ...asked, options }, { signal: leave.signal });
      await Promise.all([
        assert.rejects(started, { name: 'AbortError' }),
        held.reached().then(() => leave.abort()),
      ]);
      await held.letGo();
      await until('its removal', async () => (await agent.client.containers.list()).length === 0);
      await assertNothingLeft(agent);
    });
  }

  test('an agent that dies meanwhile leaves it to the next, with its output and its exit', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const asked = {
      ...request('lasting', 'echo one; sleep 1; echo two; exit 6'),
      autoRemove: false,
    };
    const started = await agent.client.containers.run(asked);
    const first = await started.output[Symbol.asyncIterator]().next();
    assert.equal(Buffer.from(first.value?.bytes ?? []).toString(), 'one\n');
    await agent.kill();
    await agent.start();
    assert.deepEqual(await agent.client.containers.wait('lasting'), { exitCode: 6 });
    let text = '';
    const { output } = await agent.client.containers.logs('lasting', { from: started.from });
    for await (const { bytes } of output) text += Buffer.from(bytes).toString();
    assert.equal(text, 'one\ntwo\n');
  });
});

async function readAll({ output }: StartedContainer): Promise<{ stdout: string; stderr: string }> {
  const text = { stdout: '', stderr: '' };
  for await (const { stream, bytes } of output) text[stream] += Buffer.from(bytes).toString();
  return text;
}
