import assert from 'node:assert/strict';
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { RunOptions } from '../../../../shared/agent/run-options.ts';
import { findMonitors } from '../../../../worker/agent/runtime/monitor.ts';
import { copyDisk, makeDisk, mountDisk, unmount } from '../../../support/disk.ts';
import { requireTool } from '../../../support/requirements.ts';
import { until } from '../../../support/until.ts';
import { temporaryFolder } from '../snapshot/agent-root.ts';
import { assertNothingLeft, startTestAgent, type TestAgent } from './agent.ts';
import { heldRuntime } from './held-runtime.ts';
import { imageName, outputOf, removeRun, requireContainers } from './node.ts';

const script = (text: string, options: RunOptions = {}): RunOptions => ({
  args: ['/bin/sh', '-c', text],
  ...options,
});

describe('after a power cut', () => {
  test('a container that was told made is whole, with its volumes', async (t) => {
    if (!requireNode(t)) return;
    await using node = await startNode();
    const { client } = node.agent;
    const named = { hostname: 'named', network: 'none' } as const;
    const mounts: RunOptions['mounts'] = [
      { type: 'volume', target: '/etc' },
      { type: 'volume', source: 'programs', target: '/bin' },
    ];
    const made = {
      files: script('cat /etc/hostname /etc/hosts', named),
      volumes: script('cat /etc/passwd', { mounts }),
    };
    for (const [id, options] of Object.entries(made)) {
      await client.containers.create({ id, image: imageName, options });
    }
    await node.cutPower();
    for (const id of Object.keys(made)) {
      assert.equal((await client.containers.inspect(id)).state, 'created');
      await client.containers.start(id);
      assert.equal((await client.containers.wait(id)).exitCode, 0);
    }
    const said = async (id: string) => (await outputOf(client.containers, id)).stdout.toString();
    assert.match(await said('files'), /^named\n127.0.0.1\tlocalhost\n/);
    assert.match(await said('volumes'), /^redis:x:999:998:/m);
  });

  test('what was told running runs again by its policy, or has ended', async (t) => {
    if (!requireNode(t)) return;
    await using node = await startNode();
    const { client } = node.agent;
    for (const name of ['always', 'no'] as const) {
      const options = script('sleep 600', { restart: { name } });
      await client.containers.create({ id: name, image: imageName, options });
      await client.containers.start(name);
    }
    await node.cutPower();
    const stateOf = async (id: string) => (await client.containers.inspect(id)).state;
    await until('that it runs', async () => (await stateOf('always')) === 'running');
    const { state, exitCode } = await client.containers.inspect('no');
    assert.deepEqual([state, exitCode], ['exited', 255]);
  });

  test('a start that was only noted is undone: the container is as it was made, and starts', async (t) => {
    if (!requireNode(t)) return;
    await using folder = await temporaryFolder();
    const held = await heldRuntime(folder.path, 'start');
    await using node = await startNode();
    const { client } = node.agent;
    const options = script('sleep 600', { runtime: held.program });
    await client.containers.create({ id: 'held', image: imageName, options });
    const before = await node.database();
    const started = client.containers.start('held').catch(() => undefined);
    await held.reached();
    assert.equal((await client.containers.inspect('held')).state, 'starting');
    await node.cutPower(before);
    await started;
    await held.letGo();
    assert.equal((await client.containers.inspect('held')).state, 'created');
    assert.equal((await client.containers.start('held')).state, 'running');
    await client.containers.remove('held', { force: true });
    await assertNothingLeft(node.agent);
  });

  test('a run of which nobody was told leaves nothing; one that was told is kept', async (t) => {
    if (!requireNode(t)) return;
    await using folder = await temporaryFolder();
    const held = await heldRuntime(folder.path, 'create');
    await using node = await startNode();
    const { client } = node.agent;
    const told = script('sleep 600', { restart: { name: 'always' } });
    await client.containers.run({ id: 'told', image: imageName, options: told });
    const options = script('sleep 600', { runtime: held.program });
    const running = client.containers.run({ id: 'untold', image: imageName, options });
    running.catch(() => {});
    await held.reached();
    assert.equal((await client.containers.inspect('untold')).state, 'starting');
    await node.cutPower();
    await assert.rejects(running);
    await held.letGo();
    assert.deepEqual(
      (await client.containers.list()).map(({ id }) => id),
      ['told'],
    );
    const state = async () => (await client.containers.inspect('told')).state;
    await until('that it runs', async () => (await state()) === 'running');
    await client.containers.run({ id: 'untold', image: imageName, options: script('sleep 600') });
    for (const id of ['told', 'untold']) await client.containers.remove(id, { force: true });
    await assertNothingLeft(node.agent);
  });

  test('a container with --rm whose end and removal were only noted goes', async (t) => {
    if (!requireNode(t)) return;
    await using node = await startNode();
    const { client } = node.agent;
    const options = script('read line; exit 3', { stdin: true });
    await client.containers.create({ id: 'brief', image: imageName, options, autoRemove: true });
    await client.containers.start('brief');
    const before = await node.database();
    await client.containers.kill('brief', 'SIGKILL');
    assert.equal((await client.containers.wait('brief')).exitCode, 137);
    await assertNothingLeft(node.agent);
    await node.cutPower(before);
    await until('its removal', async () => (await client.containers.list()).length === 0);
    await assertNothingLeft(node.agent);
    await client.containers.create({ id: 'brief', image: imageName, options: script('true') });
  });
});

/** Whether such a node can be had here; otherwise the test is skipped. */
function requireNode(t: TestContext): boolean {
  return requireContainers(t) && requireTool(t, 'mkfs.ext4');
}

interface TestNode extends AsyncDisposable {
  agent: TestAgent;
  /** What the node's database has written since it was opened. */
  database: () => Promise<Buffer>;
  /**
   * Leaves what had got to the disk by now, ends all that runs, and starts the next agent.
   * @param database of what it has written, this is what had got to the disk
   */
  cutPower: (database?: Buffer) => Promise<void>;
}

/** An agent whose root is a disk of its own, with a journal. */
async function startNode(): Promise<TestNode> {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(await temporaryFolder());
  const [disk, root] = [path.join(folder.path, 'disk'), path.join(folder.path, 'root')];
  await makeDisk(disk, '32M');
  let mounted = await mountDisk(disk, root);
  undo.defer(() => mounted[Symbol.asyncDispose]());
  const agent = undo.use(await startTestAgent({ root }));
  const all = undo.move();
  const written = path.join(root, 'node.db-wal');
  return {
    agent,
    database: () => readFile(written),
    cutPower: async (database) => {
      await copyDisk(disk, `${disk}-then`);
      await agent.kill();
      await endAll(root);
      await mounted[Symbol.asyncDispose]();
      await rename(`${disk}-then`, disk);
      mounted = await mountDisk(disk, root);
      if (database !== undefined) await writeFile(written, database);
      await agent.start();
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** Ends what a reboot ends of containers: processes, mounts, and what lies in /run. */
async function endAll(root: string): Promise<void> {
  for (const instance of await readdir(path.join(root, 'containers'))) {
    const bundle = path.join(root, 'containers', instance);
    for (const pid of findMonitors(bundle)) process.kill(pid, 'SIGKILL');
    const pid = Number(await readFile(path.join(bundle, 'container.pid'), 'utf8').catch(() => ''));
    const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
    if (pid > 1 && groups.includes(instance)) process.kill(pid, 'SIGKILL');
    await until('that nothing uses its root', () => unmount(path.join(bundle, 'rootfs')));
  }
  await removeRun(root);
}
