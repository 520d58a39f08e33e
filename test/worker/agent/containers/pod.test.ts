import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { requireTool } from '../../../support/requirements.ts';
import { startTestAgent } from './agent.ts';
import { imageName, outputOf, requireContainers } from './node.ts';

/** A control group as a pod's, in the hierarchy by which runtimes find what is in it. */
function makeGroup(): { folder: string; pids: () => number[] } & Disposable {
  const [hierarchy = '/sys/fs/cgroup'] = ['pids', 'systemd']
    .map((name) => `/sys/fs/cgroup/${name}`)
    .filter((folder) => existsSync(path.join(folder, 'cgroup.procs')));
  const folder = path.join(hierarchy, `dray-pod-${process.pid}`);
  mkdirSync(folder);
  return {
    folder,
    pids: () =>
      readFileSync(path.join(folder, 'cgroup.procs'), 'utf8')
        .split('\n')
        .filter(Boolean)
        .map(Number),
    [Symbol.dispose]: () => rmdirSync(folder),
  };
}

test('an agent in a pod: containers outlive the pod with their output and exit code', async (t) => {
  if (!requireContainers(t) || !requireTool(t, 'unshare')) return;
  using pod = makeGroup();
  await using agent = await startTestAgent({
    // As with hostPID, and mountPropagation: Bidirectional for the state.
    within: [
      ...[
        'env',
        'DRAY_AGENT_IN_CONTAINER=true',
        'unshare',
        '--mount',
        '--propagation',
        'unchanged',
      ],
      ...['sh', '-c', `echo $$ >${pod.folder}/cgroup.procs; exec "$@"`, 'sh'],
    ],
    prepare(root) {
      execFileSync('mount', ['--bind', root, root]);
      execFileSync('mount', ['--make-shared', root]);
    },
  });
  const { client, root } = agent;
  try {
    const script = 'i=0; until [ -e /go ]; do echo $i; i=$((i+1)); sleep 0.05; done; exit 5';
    const options = { args: ['/bin/sh', '-c', script] };
    await client.containers.create({ id: 'lasting', image: imageName, options });
    await client.containers.start('lasting');
    const { pid } = await client.containers.inspect('lasting');
    assert.ok(pod.pids().length > 0, 'the agent is in the pod');
    // As the runtime of the pod ends it.
    for (let left = pod.pids(); left.length > 0; left = pod.pids()) {
      for (const each of left) {
        try {
          process.kill(each, 'SIGKILL');
        } catch {
          // It has just ended.
        }
      }
      await sleep(20);
    }
    await agent.kill();
    await agent.start();
    const found = await client.containers.inspect('lasting');
    assert.deepEqual([found.state, found.pid], ['running', pid]);
    const logs = (id: string, wanted: object) => client.containers.logs(id, wanted);
    const lines = async () => (await outputOf({ logs }, 'lasting')).stdout.toString().split('\n');
    const [instance = ''] = execFileSync('ls', [path.join(root, 'containers')], {
      encoding: 'utf8',
    }).split('\n');
    execFileSync('touch', [path.join(root, 'containers', instance, 'rootfs', 'go')]);
    assert.equal((await client.containers.wait('lasting')).exitCode, 5);
    const said = await lines();
    assert.deepEqual(
      said.slice(0, -1),
      said.slice(0, -1).map((_, i) => String(i)),
    );
    await client.containers.remove('lasting');
  } finally {
    await agent.kill();
    execFileSync('umount', ['--lazy', root]);
  }
});
