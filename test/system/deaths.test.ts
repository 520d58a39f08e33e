import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, type TestContext, test } from 'node:test';
import { keepImage } from '../../producer/keep.ts';
import { openStore } from '../../shared/content/open.ts';
import { formatPlatform, hostPlatform, parsePlatform } from '../../shared/image/platform.ts';
import { imagesOfNodes } from '../../shared/node/node-images.ts';
import { PullRecords } from '../../shared/pull/records.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import { type HeldRegistry, startHeldRegistry } from '../support/held-registry.ts';
import type { TestProgram } from '../support/programs.ts';
import { pushImage, pushIndex, randomLayer, tarOf } from '../support/push.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { until } from '../support/until.ts';

const launcher = path.resolve(import.meta.dirname, '../../producer/cli/dray');
const support = path.resolve(import.meta.dirname, '../support');
const dieWhen = `--import=${path.join(support, 'die-when.ts')}`;

async function dray(args: string[], env: NodeJS.ProcessEnv) {
  const child = spawn(launcher, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { exitCode: child.exitCode, signal: child.signalCode, stdout, stderr };
}

test('dray token that is killed while it changes the file: all tokens from before are there, and the next change works', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-tokens-'));
  try {
    const file = path.join(folder, 'tokens.json');
    const order = path.join(folder, 'order');
    await writeFile(order, `${file}.new`);
    const env = { DRAY_API_TOKENS: file, DRAY_STATE: folder };
    const create = (name: string, more: NodeJS.ProcessEnv = {}) =>
      dray(['token', 'create', name, '--scope', 'read'], { ...env, ...more });
    const names = async () =>
      (await dray(['token', 'ls', '-q'], env)).stdout.split('\n').filter(Boolean);
    assert.equal((await create('first')).exitCode, 0);
    const dying = { NODE_OPTIONS: dieWhen, TEST_DIES_WHEN: order };
    const killed = await create('second', dying);
    assert.equal(killed.signal, 'SIGKILL', killed.stderr);
    assert.deepEqual(
      (await names()).filter((name) => name !== 'second'),
      ['first'],
    );
    const third = await create('third');
    assert.match(third.stdout, /^dray_/, third.stderr);
    const removed = await dray(['token', 'rm', 'first'], { ...env, ...dying });
    assert.equal(removed.signal, 'SIGKILL', removed.stderr);
    await dray(['token', 'rm', 'first', 'second'], env);
    assert.deepEqual(await names(), ['third']);
    assert.ok(!(await readdir(folder)).includes('tokens.json.new'));
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe('kill -9 of a part at its work', { skip: process.getuid?.() !== 0 }, () => {
  let registry: TestRegistry;
  let held: HeldRegistry;
  let fleet: TestFleet;
  let worker: TestProgram;
  const other = 'linux/s390x';

  before(async () => {
    registry = await startRegistry();
    held = await startHeldRegistry(registry.host);
    fleet = await startFleet();
    worker = await fleet.startWorker('w0');
  });
  after(async () => {
    await fleet[Symbol.asyncDispose]();
    await held[Symbol.asyncDispose]();
    await registry.stop();
  });
  const canRun = (t: TestContext) => requireRoot(t) && requireTool(t, 'redis-server');
  const throughHeld = (reference: string) => reference.replace(registry.host, held.host);
  let workers = 1;
  const replaceWorker = async () => {
    await worker.kill();
    worker = await fleet.startWorker(`w${workers++}`);
  };
  const downloads = async (digest: string) =>
    (await registry.accessLog()).filter(
      ({ method, path, status }) => method === 'GET' && path.includes(digest) && status === 200,
    ).length;

  test('the worker, between the images of two platforms: each node gets its own, and nothing is fetched twice', async (t) => {
    if (!canRun(t)) return;
    await fleet.startAgent('own');
    const preload = `--import=${path.join(support, 'other-platform.ts')}`;
    await fleet.startAgent('other', { NODE_OPTIONS: preload, TEST_ARCH: 's390x' });
    const images = [];
    for (const name of [formatPlatform(hostPlatform()), other]) {
      const platform = parsePlatform(name);
      const tar = await tarOf([{ name: 'platform', content: name }]);
      const tag = platform.architecture;
      const image = await pushImage(registry.host, 'two', tag, [tar], { platform });
      images.push({ image, platform });
    }
    const { reference } = await pushIndex(registry.host, 'two', 'v1', images);
    // Whichever is looked at first, the other one is not there yet.
    const holds = images.map(({ image }) => held.hold(`/manifests/${image.digest}`));
    const id = await fleet.pull({ reference: throughHeld(reference), nodes: ['own', 'other'] });
    const first = await Promise.race(holds.map(({ reached }, at) => reached.then(() => at)));
    holds[first]?.letGo();
    await holds[1 - first]?.reached;
    await replaceWorker();
    holds[1 - first]?.letGo();
    const status = await fleet.ended(id);
    assert.equal(status.state, 'ready', JSON.stringify(status));
    assert.deepEqual(
      status.nodes.map(({ name, state }) => [name, state]),
      [
        ['other', 'ready'],
        ['own', 'ready'],
      ],
    );
    for (const { image } of images) {
      assert.equal(await downloads(image.layers[0]?.digest ?? ''), 1);
      assert.equal(await downloads(image.config.digest), 1);
    }
    assert.equal(await downloads(images[first]?.image.digest ?? ''), 1);
  });

  test('the worker, while it looks at the tag of a desired set: the next one does, and rolls out once', async (t) => {
    if (!canRun(t)) return;
    await fleet.startAgent('kept', { DRAY_LABELS: 'kept=yes' });
    const push = async () => pushImage(registry.host, 'watched', 'v1', [await randomLayer(50_000)]);
    await using store = await openStore(fleet.config.store);
    const { reference } = await push();
    const { name, pull } = await keepImage(
      { reference: throughHeld(reference), nodes: [], selector: 'kept=yes' },
      { retention: { previous: 0 }, schedule: '10s' },
      { config: fleet.config, redis: fleet.redis, store },
    );
    assert.equal((await fleet.ended(pull)).state, 'ready');
    const rollouts = async () => {
      const records = new PullRecords(fleet.redis, fleet.config.redis.prefix);
      const found = await Promise.all((await records.recent(200)).map((id) => records.get(id)));
      return found.filter((each) => each?.desired === name && each.nodes.total > 0).length;
    };
    const before = await rollouts();
    const look = held.hold('/watched/manifests/v1');
    const second = await push();
    await look.reached;
    await replaceWorker();
    look.letGo();
    await until('the new version on its node', async () => {
      const found = await imagesOfNodes(fleet.redis, fleet.config.redis.prefix, ['kept']);
      return found.get('kept')?.some((each) => each === second.digest);
    });
    assert.equal(await rollouts(), before + 1);
    assert.equal(await downloads(second.layers[0]?.digest ?? ''), 1);
  });

  test('the agent, in the middle of its garbage collection: what is left is whole, the rest goes later, and all can be pulled again', async (t) => {
    if (!canRun(t) || !requireTool(t, 'runc', 'conmon', 'busybox')) return;
    const busybox = await readFile('/bin/busybox');
    const base = await tarOf([
      { name: 'bin/', type: 'directory', mode: 0o755 },
      { name: 'bin/busybox', mode: 0o755, content: busybox },
    ]);
    const own = ['one', 'two', 'three'].map((name) => randomLayer(50_000, name));
    const gone = await pushImage(registry.host, 'gone', 'v1', [base, ...(await Promise.all(own))]);
    const kept = await pushImage(registry.host, 'kept', 'v1', [base, await randomLayer(50_000)]);
    const order = path.join(fleet.folder, 'gc-order');
    const dying = { NODE_OPTIONS: dieWhen, TEST_DIES_WHEN: order };
    let agent = await fleet.startAgent('cleaned', dying);
    const command = async (...args: string[]) => {
      const result = await dray(args, fleet.env);
      assert.equal(result.exitCode, 0, `${args.join(' ')}: ${result.stderr}`);
      return result.stdout;
    };
    const pull = (reference: string) =>
      command('pull', '--progress', 'none', '--node', 'cleaned', reference);
    for (const { reference } of [gone, kept]) await pull(reference);
    await command('images', 'rm', gone.reference);

    const folder = path.join(fleet.nodeRoot('cleaned'), 'snapshots');
    const shown = async () => {
      const local = { ...fleet.env, DRAY_AGENT_SOCKET: socketOf('cleaned') };
      const { stdout } = await dray(['snapshots', 'ls', '-o', 'json'], local);
      return (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name);
    };
    const socketOf = (node: string) => path.join(fleet.folder, node, 'run', 'agent.sock');
    assert.equal((await shown()).length, 5);
    // The one that nothing stands on goes first.
    const [last] = await filter(await readdir(folder), async (id) =>
      (await readdir(path.join(folder, id, 'fs'))).includes('three'),
    );
    await writeFile(order, `!${path.join(folder, last ?? '')}`);
    const args = ['gc', '--grace', '0s', '--node', 'cleaned'];
    const asking = spawn(launcher, args, { env: { ...process.env, ...fleet.env } });
    await until('its death', async () => !(await isAlive(agent.pid)));
    asking.kill();
    await once(asking, 'close');
    await rm(order);
    agent = await fleet.startAgent('cleaned');
    const left = await shown();
    assert.ok(left.length < 5 && left.length >= 2, `${left.length} snapshots are left`);
    await command(...args);
    assert.equal((await shown()).length, 2);
    await until('no folder but theirs', async () => (await readdir(folder)).length === 2);
    await pull(gone.reference);
    const local = { ...fleet.env, DRAY_AGENT_SOCKET: socketOf('cleaned') };
    for (const { reference } of [gone, kept]) {
      const options = ['--rm', '--net', 'host', '--pull', 'never'];
      const line = ['run', ...options, reference, '/bin/busybox', 'echo', 'runs'];
      const ran = await dray(line, local);
      assert.deepEqual([ran.stdout, ran.exitCode], ['runs\n', 0], ran.stderr);
    }
  });
});

async function filter<T>(all: readonly T[], holds: (each: T) => Promise<boolean>): Promise<T[]> {
  const found = await Promise.all(all.map(holds));
  return all.filter((_, at) => found[at]);
}

async function isAlive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return status !== undefined && !/\) Z /.test(status);
}
