import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startDray } from '../support/dray.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { pushShellImage } from '../support/shell-image.ts';

test('dray nodes drain: containers run on and are told of, or are stopped', async (t) => {
  if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server', 'runc', 'busybox')) {
    return;
  }
  await using registry = await startRegistry();
  await using fleet = await startDray();
  const config = { Cmd: ['sleep', '600'] };
  const { reference } = await pushShellImage(registry.host, 'sleeps', config);
  const flags = ['-d', '--net', 'none', '--stop-timeout', '1'];
  for (const more of [
    ['--name', 'plain'],
    ['--name', 'again', '--restart', 'always'],
  ]) {
    await fleet.dray('run', ...flags, ...more, reference);
  }
  const node = (await fleet.dray('nodes', '-q')).stdout.trim();
  const running = async () => (await fleet.dray('ps', '-q')).stdout.split('\n').filter(Boolean);

  const drained = await fleet.dray('nodes', 'drain', node);
  assert.equal(drained.stdout.trim(), node);
  assert.equal((await running()).length, 2);
  const refused = await fleet.tryDray('pull', '--node', node, reference);
  assert.match(refused.stderr, /is drained: it gets nothing new/);

  const stopped = await fleet.dray('nodes', 'drain', '--stop-containers', node);
  assert.match(stopped.stderr, /: 2 containers stopped/);
  assert.deepEqual(await running(), [], 'a restart policy starts none of them again');
});
