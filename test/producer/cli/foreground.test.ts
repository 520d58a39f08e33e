import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { followOutput, waitForEnd } from '../../../producer/cli/foreground.ts';
import { until } from '../../support/until.ts';
import { startTestAgent } from '../../worker/agent/containers/agent.ts';
import { imageName, requireContainers } from '../../worker/agent/containers/node.ts';

describe('a container in the foreground', () => {
  test('each byte comes once, and the exit code, also when the agent is replaced', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    const script =
      'i=0; until test -e /tmp/end; do i=$((i + 1)); echo $i; echo e$i >&2; sleep 0.05; done; exit 6';
    const options = { args: ['/bin/sh', '-c', script] };
    await client.containers.create({ id: 'front', image: imageName, options });
    const said: string[] = [];
    const follow = { connect: async () => client, say: (text: string) => said.push(text) };
    const output = followOutput('front', follow);
    await output.next();
    await client.containers.start('front');
    const { pid } = await client.containers.inspect('front');
    const seen = { stdout: '', stderr: '' };
    const replace = async () => {
      await until('some output', () => seen.stdout.includes('\n5\n'));
      await agent.kill();
      await sleep(200);
      await agent.start();
      const before = seen.stdout.length;
      await until('output of the next agent', () => seen.stdout.length > before);
      await writeFile(`/proc/${pid}/root/tmp/end`, '');
    };
    const replaced = replace();
    for await (const chunk of output) if (chunk) seen[chunk.stream] += Buffer.from(chunk.bytes);
    await replaced;
    const lines = seen.stdout.split('\n').slice(0, -1);
    assert.deepEqual(
      lines,
      lines.map((_, i) => String(i + 1)),
    );
    assert.equal(seen.stderr, lines.map((line) => `e${line}\n`).join(''));
    assert.equal((await waitForEnd('front', follow)).exitCode, 6);
    assert.equal(said.length, 1);
  });
});
