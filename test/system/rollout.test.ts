import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { drainNode, forgetNode } from '../../producer/drain-node.ts';
import { steerPull } from '../../producer/steer-pull.ts';
import { getNode, heartbeatInterval, listNodes, markNode } from '../../shared/node/registry.ts';
import { PullRecords } from '../../shared/pull/records.ts';
import type { PullStatus } from '../../shared/pull/status.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import type { TestProgram } from '../support/programs.ts';
import { pushImage, randomLayer, tarOf } from '../support/push.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { startSlowLink } from '../support/slow-link.ts';
import { until } from '../support/until.ts';

/** Agents on this machine, each with a root of its own: n1 to n4 in two zones. */
const zones = { n1: 'a', n2: 'a', n3: 'b', n4: 'b' } as const;
type Name = keyof typeof zones;
const names = Object.keys(zones) as Name[];

describe('rollouts to four nodes', { skip: process.getuid?.() !== 0 }, () => {
  let registry: TestRegistry;
  let fleet: TestFleet;
  const agents = new Map<Name, TestProgram>();
  let records: PullRecords;

  before(async () => {
    registry = await startRegistry();
    fleet = await startFleet();
    records = new PullRecords(fleet.redis, fleet.config.redis.prefix);
    await fleet.startWorker('w1');
    await Promise.all(names.map((name) => startAgent(name)));
  });
  after(async () => {
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
  });

  async function startAgent(name: Name, env: NodeJS.ProcessEnv = {}): Promise<void> {
    const labels = `zone=${zones[name]}`;
    agents.set(name, await fleet.startAgent(name, { DRAY_LABELS: labels, ...env }));
  }

  async function push(layers = 2): Promise<string> {
    const repository = `app-${randomBytes(4).toString('hex')}`;
    const tars = await Promise.all(
      Array.from({ length: layers }, (_, i) => randomLayer(200_000, `file-${i}`)),
    );
    return (await pushImage(registry.host, repository, 'v1', tars)).reference;
  }

  /** An image of which a node whose layers may have one entry only unpacks nothing. */
  async function pushLarge(): Promise<string> {
    const tar = await tarOf([1, 2, 3].map((i) => ({ name: `f${i}`, content: randomBytes(1_000) })));
    const repository = `large-${randomBytes(4).toString('hex')}`;
    return (await pushImage(registry.host, repository, 'v1', [tar])).reference;
  }

  /** Has an agent refuse each layer of more than one entry, until it is told to stop that. */
  async function refusing(name: Name): Promise<AsyncDisposable> {
    const config = path.join(fleet.folder, `${name}.json`);
    await writeFile(config, JSON.stringify({ agent: { limits: { maxEntries: 1 } } }));
    await agents.get(name)?.stop();
    await startAgent(name, { DRAY_CONFIG: config });
    return {
      [Symbol.asyncDispose]: async () => {
        await agents.get(name)?.stop();
        await startAgent(name);
        await rm(config);
      },
    };
  }

  const stateOf = (status: PullStatus, name: string) =>
    status.nodes.find((node) => node.name === name)?.state;

  async function untilPull(
    id: string,
    when: (status: PullStatus) => boolean,
    bound = 60_000,
  ): Promise<PullStatus> {
    for (const deadline = Date.now() + bound; ; ) {
      const status = await fleet.pulls.get(id);
      assert.ok(status !== undefined);
      if (when(status)) return status;
      assert.ok(Date.now() < deadline, `it did not come to that: ${JSON.stringify(status)}`);
      await sleep(50);
    }
  }

  test('a selector, and all nodes', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    const reference = await push();
    const some = await fleet.ended(await fleet.pull({ reference, nodes: [], selector: 'zone!=a' }));
    assert.equal(some.state, 'ready', JSON.stringify(some.nodes));
    assert.deepEqual(
      some.nodes.map(({ name }) => name),
      ['n3', 'n4'],
    );
    const { prefix } = fleet.config.redis;
    await markNode(fleet.redis, prefix, 'n2', 'cordoned');
    const said: string[] = [];
    const all = await fleet.ended(
      await fleet.pull({ reference, nodes: [], selector: '' }, { say: (line) => said.push(line) }),
    );
    assert.deepEqual(
      all.nodes.map(({ name }) => name),
      ['n1', 'n3', 'n4'],
    );
    assert.deepEqual(said, ['left out: n2 (cordoned)']);
    await assert.rejects(fleet.pull({ reference, nodes: ['n2'] }), { code: 'CONFLICT' });
    await markNode(fleet.redis, prefix, 'n2', undefined);
    await assert.rejects(fleet.pull({ reference, nodes: [], selector: 'zone=c' }), {
      code: 'NOT_FOUND',
    });
    // What a node holds is known at its next heartbeat at the latest.
    const holding = await listNodes(fleet.redis, prefix);
    assert.equal(holding.length, 4);
    assert.ok(holding.every(({ capacity, disk }) => capacity.cpus > 0 && disk.diskFree > 0));
  });

  test('nodes begin some at a time; paused none begins; resumed all get ready', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    const reference = await push();
    // Nobody takes n1's jobs: it stays under way.
    await agents.get('n1')?.stop();
    const id = await fleet.pull({
      ...{ reference, nodes: ['n1', 'n2', 'n3', 'n4'] },
      pace: { parallelism: 2 },
    });
    const { prefix } = fleet.config.redis;
    await untilPull(id, (status) => stateOf(status, 'n2') === 'ready');
    await steerPull(fleet.redis, prefix, id, 'pause');
    // One that had begun before goes on; n1, whose agent is away, stays under way.
    await until('n1 alone', async () => (await records.nodes.active(id)).join() === 'n1');
    const paused = await untilPull(id, ({ counts }) => counts.unpacking === 0);
    assert.equal(paused.paused, true);
    assert.match(paused.note ?? '', /paused/);
    const begun = paused.counts.ready;
    await sleep(4_000);
    const later = await fleet.pulls.get(id);
    assert.equal(later?.counts.ready, begun, 'a node began while it was paused');
    assert.equal(later?.state, 'unpacking');
    await steerPull(fleet.redis, prefix, id, 'resume');
    await untilPull(id, ({ counts }) => counts.ready === 3);
    await startAgent('n1');
    const status = await fleet.ended(id);
    assert.equal(status.state, 'ready');
    assert.equal(status.counts.ready, 4);
    await assert.rejects(steerPull(fleet.redis, prefix, id, 'pause'), { code: 'CONFLICT' });
  });

  test('a canary that fails keeps all others from beginning', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    await using _refusing = await refusing('n1');
    const reference = await pushLarge();
    const status = await fleet.ended(
      await fleet.pull({ reference, nodes: ['n1', 'n2', 'n3', 'n4'], pace: { canary: 1 } }),
    );
    assert.equal(status.state, 'failed');
    assert.deepEqual(
      status.nodes.map(({ state }) => state),
      ['failed', 'stopped', 'stopped', 'stopped'],
    );
    assert.match(status.note ?? '', /a canary failed/);
    const [failed] = status.nodes;
    assert.equal(failed?.error?.code, 'LAYER_LIMIT');
    assert.match(failed?.error?.message ?? '', /Layer 1 of 1 \(sha256:/);

    // With a canary that gets ready, the one that fails later makes it partial.
    const other = await pushLarge();
    const partial = await fleet.ended(
      await fleet.pull({ reference: other, nodes: ['n2', 'n1', 'n3', 'n4'], pace: { canary: 1 } }),
    );
    assert.equal(partial.state, 'partial');
    assert.deepEqual([partial.counts.ready, partial.counts.failed], [3, 1]);
  });

  test('more failures than allowed stop it', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    await using _refusing = await refusing('n1');
    const reference = await pushLarge();
    const status = await fleet.ended(
      await fleet.pull({
        ...{ reference, nodes: ['n2', 'n1', 'n3', 'n4'] },
        pace: { parallelism: 1, maxFailures: 0 },
      }),
    );
    assert.equal(status.state, 'partial');
    assert.deepEqual(
      ['n1', 'n2', 'n3', 'n4'].map((name) => stateOf(status, name)),
      ['failed', 'ready', 'stopped', 'stopped'],
    );
    assert.match(status.note ?? '', /1 nodes? failed, more than 0/);
  });

  test('a lost node is not waited for for ever, and is not counted in', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    const { prefix } = fleet.config.redis;
    await agents.get('n4')?.kill();
    const reference = await push();
    const id = await fleet.pull({
      ...{ reference, nodes: ['n3', 'n4'] },
      pace: { noProgressMs: 8_000 },
    });
    const status = await fleet.ended(id);
    assert.equal(status.state, 'partial');
    const lost = status.nodes.find(({ name }) => name === 'n4');
    assert.equal(lost?.error?.code, 'NODE_LOST');
    assert.match(lost?.error?.message ?? '', /n4 was not heard of for/);

    // Its silence is half a minute old, as far as the fleet knows.
    const seen = `${prefix}:dray:nodes:seen`;
    await fleet.redis.zadd(seen, Date.now() - 4 * heartbeatInterval, 'n4');
    assert.equal((await getNode(fleet.redis, prefix, 'n4')).state, 'lost');
    const others = await fleet.ended(
      await fleet.pull({ reference, nodes: [], selector: 'zone=b' }),
    );
    assert.deepEqual(
      others.nodes.map(({ name }) => name),
      ['n3'],
    );
    await assert.rejects(forgetNode(fleet.redis, prefix, 'n3'), { code: 'CONFLICT' });
    await forgetNode(fleet.redis, prefix, 'n4');
    await assert.rejects(getNode(fleet.redis, prefix, 'n4'), { code: 'NOT_FOUND' });
    await startAgent('n4');
    assert.equal((await getNode(fleet.redis, prefix, 'n4')).state, 'ready');
  });

  test('the total deadline ends nodes that are not done, with what was theirs to do', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    await agents.get('n2')?.stop();
    const reference = await push();
    const id = await fleet.pull({
      ...{ reference, nodes: ['n1', 'n2'] },
      pace: { timeoutMs: 12_000 },
    });
    const status = await fleet.ended(id);
    assert.equal(status.state, 'partial');
    assert.equal(
      status.nodes.find(({ name }) => name === 'n2')?.error?.code,
      'TIMEOUT',
      JSON.stringify(status),
    );
    await startAgent('n2');
  });

  test('a drained node puts down its work, and gets none until it is told to', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    const { prefix } = fleet.config.redis;
    await agents.get('n2')?.stop();
    const reference = await push();
    const id = await fleet.pull({ reference, nodes: ['n1', 'n2'] });
    await untilPull(id, (status) => stateOf(status, 'n1') === 'ready');
    assert.equal(await drainNode(fleet.redis, prefix, 'n2'), 1);
    const status = await fleet.ended(id);
    assert.equal(status.state, 'partial');
    assert.match(status.nodes.find(({ name }) => name === 'n2')?.error?.message ?? '', /drained/);
    await assert.rejects(fleet.pull({ reference, nodes: ['n2'] }), { code: 'CONFLICT' });
    await markNode(fleet.redis, prefix, 'n2', undefined);
    await startAgent('n2');
    assert.equal(
      (await fleet.ended(await fleet.pull({ reference, nodes: ['n2'] }))).state,
      'ready',
    );
  });

  test('cancelled, it ends at once, and no node begins any more', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    await agents.get('n1')?.stop();
    const reference = await push();
    const id = await fleet.pull({
      ...{ reference, nodes: ['n1', 'n2', 'n3'] },
      pace: { parallelism: 1 },
    });
    await untilPull(id, ({ state }) => state === 'unpacking');
    await steerPull(fleet.redis, fleet.config.redis.prefix, id, 'cancel');
    const status = await fleet.ended(id);
    assert.equal(status.state, 'cancelled');
    assert.deepEqual(
      status.nodes.map(({ state }) => state),
      ['stopped', 'stopped', 'stopped'],
    );
    assert.deepEqual(await records.nodes.admit(id), []);
    await startAgent('n1');
  });
});

describe('a pull whose content does not come', () => {
  test('is given up after its deadline without progress, not before', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server')) return;
    await using registry = await startRegistry();
    await using link = await startSlowLink(registry.host, { bytesPerSecond: 400_000 });
    await using fleet = await startFleet();
    await fleet.startWorker('w1');
    const tar = await randomLayer(3_600_000);
    await pushImage(registry.host, 'stalled', 'v1', [tar], { compression: 'none' });
    const reference = `${link.host}/stalled:v1`;
    // It takes nine seconds, and moves all the time.
    const slow = await fleet.pull({ reference, nodes: [], pace: { noProgressMs: 6_000 } });
    assert.equal((await fleet.ended(slow)).state, 'ready');

    const other = await randomLayer(3_600_000);
    await pushImage(registry.host, 'stalled', 'v2', [other], { compression: 'none' });
    const id = await fleet.pull({
      ...{ reference: `${link.host}/stalled:v2`, nodes: [] },
      pace: { noProgressMs: 6_000 },
    });
    for await (const { blobs } of fleet.pulls.watch(id)) {
      if (blobs.some(({ kind, bytes }) => kind === 'layer' && bytes > 100_000)) break;
    }
    link.setRate(0);
    const status = await fleet.ended(id);
    assert.equal(status.state, 'failed');
    assert.equal(status.error?.code, 'TIMEOUT');
    assert.match(status.error?.message ?? '', /no progress with its content for 6 s/);
  });
});
