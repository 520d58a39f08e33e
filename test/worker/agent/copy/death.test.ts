import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { tarOf } from '../../../support/push.ts';
import { until } from '../../../support/until.ts';
import { startTestAgent, type TestAgent } from '../containers/agent.ts';
import { imageName, requireContainers } from '../containers/node.ts';

const launcher = path.resolve(import.meta.dirname, '../../../../producer/cli/dray');
/** More than all the buffers on the way take. */
const size = 32 * 1024 * 1024;

describe('dray cp while the agent is killed', () => {
  for (const state of ['running', 'exited'] as const) {
    test(`both ways, of a container that is ${state}: the command says so, nothing of it stays, a repeat works`, async (t) => {
      if (!requireContainers(t)) return;
      await using agent = await startTestAgent();
      const args = ['sleep', state === 'running' ? '100000' : '0'];
      await agent.client.containers.create({ id: 'c', image: imageName, options: { args } });
      await agent.client.containers.start('c');
      if (state === 'exited') await agent.client.containers.wait('c');
      const content = randomBytes(size);
      const archive = await tarOf([{ name: 'f', content }]);

      const into = copy(agent, '-', 'c:/tmp');
      into.child.stdin.on('error', () => {});
      into.child.stdin.write(archive.subarray(0, size / 2));
      await until('its beginning in the container', () => hasFile(agent));
      await agent.kill();
      into.child.stdin.end(archive.subarray(size / 2));
      await assertFailed(into);
      await agent.start();
      await assertAsBefore(agent, state);
      const again = copy(agent, '-', 'c:/tmp');
      again.child.stdin.end(archive);
      assert.deepEqual(await again.ended, { exitCode: 0, said: '' });

      const out = copy(agent, 'c:/tmp/f', '-');
      await once(out.child.stdout, 'readable');
      await agent.kill();
      out.child.stdout.resume();
      await assertFailed(out);
      await agent.start();
      await assertAsBefore(agent, state);
      const whole = copy(agent, 'c:/tmp/f', '-');
      const bytes = await buffer(whole.child.stdout);
      assert.ok(bytes.subarray(512, 512 + size).equals(content));
      await agent.client.containers.remove('c', { force: true });
    });
  }
});

interface Copying {
  child: ChildProcessWithoutNullStreams;
  ended: Promise<{ exitCode: number | null; said: string }>;
}

function copy({ root, socket }: TestAgent, source: string, target: string): Copying {
  const env = {
    ...process.env,
    DRAY_STATE: path.join(root, 'cli'),
    DRAY_AGENT_SOCKET: socket,
    // Not the embedded fleet.
    REDIS_URL: 'redis://127.0.0.1:1',
  };
  const child = spawn(launcher, ['cp', source, target], { env, stdio: 'pipe' });
  const ended = Promise.all([text(child.stderr), once(child, 'close')]);
  return { child, ended: ended.then(([said]) => ({ exitCode: child.exitCode, said })) };
}

async function assertFailed({ ended }: Copying): Promise<void> {
  const { exitCode, said } = await ended;
  assert.equal(exitCode, 1, said);
  assert.match(said, /The agent at .* does not answer/);
}

async function hasFile({ root }: TestAgent): Promise<boolean> {
  const folder = path.join(root, 'snapshots');
  const found = await readdir(folder);
  return found.some((id) => existsSync(path.join(folder, id, 'fs/tmp/f')));
}

/** The container is in its state, and its file system is mounted only while it runs. */
async function assertAsBefore({ client, root }: TestAgent, state: string): Promise<void> {
  assert.equal((await client.containers.inspect('c')).state, state);
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8'))
    .split('\n')
    .filter((line) => line.includes(`${root}/containers`));
  assert.equal(mounts.length, state === 'running' ? 1 : 0);
}
