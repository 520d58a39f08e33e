import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { followOutput, waitForEnd } from '../../../producer/cli/foreground.ts';
import { startTestAgent } from '../../worker/agent/containers/agent.ts';
import { imageName, requireContainers } from '../../worker/agent/containers/node.ts';

describe('a container in the foreground', () => {
  test('each byte comes once, and the exit code, also when the agent is replaced', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    const script = 'for i in $(seq 1 30); do echo $i; echo e$i >&2; sleep 0.05; done; exit 6';
    const options = { args: ['/bin/sh', '-c', script] };
    await client.createContainer({ id: 'front', image: imageName, options });
    const said: string[] = [];
    const follow = { connect: async () => client, say: (text: string) => said.push(text) };
    const output = followOutput('front', follow);
    await output.next();
    await client.startContainer('front');
    const replace = async () => {
      await sleep(400);
      await agent.kill();
      await sleep(200);
      await agent.start();
    };
    const replaced = replace();
    const seen = { stdout: '', stderr: '' };
    for await (const chunk of output) if (chunk) seen[chunk.stream] += Buffer.from(chunk.bytes);
    await replaced;
    const numbers = Array.from({ length: 30 }, (_, i) => i + 1);
    assert.equal(seen.stdout, numbers.map((i) => `${i}\n`).join(''));
    assert.equal(seen.stderr, numbers.map((i) => `e${i}\n`).join(''));
    assert.equal((await waitForEnd('front', follow)).exitCode, 6);
    assert.equal(said.length, 1);
  });
});
