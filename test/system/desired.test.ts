import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { keepImage } from '../../producer/keep.ts';
import { openStore } from '../../shared/content/open.ts';
import type { Store } from '../../shared/content/store.ts';
import { type DesiredSet, retainedVersions } from '../../shared/desired/desired-set.ts';
import { DesiredSets } from '../../shared/desired/desired-sets.ts';
import { imagesOfNodes } from '../../shared/node/node-images.ts';
import { listNodes } from '../../shared/node/registry.ts';
import { PullRecords } from '../../shared/pull/records.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import type { TestProgram } from '../support/programs.ts';
import { pushImage, randomLayer } from '../support/push.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { requireTool } from '../support/requirements.ts';
import { until } from '../support/until.ts';

describe('desired sets', { skip: process.getuid?.() !== 0 }, () => {
  let registry: TestRegistry;
  let fleet: TestFleet;
  let store: Store;
  let sets: DesiredSets;
  const agents = new Map<string, TestProgram>();

  before(async () => {
    registry = await startRegistry();
    fleet = await startFleet();
    store = await openStore(fleet.config.store);
    sets = new DesiredSets(fleet.redis, fleet.config.redis.prefix, store.desired);
    await fleet.startWorker('w1');
    await Promise.all([startAgent('n1', 'a'), startAgent('n2', 'b')]);
  });
  after(async () => {
    await store[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
  });

  async function startAgent(name: string, zone: string): Promise<void> {
    agents.set(name, await fleet.startAgent(name, { DRAY_LABELS: `zone=${zone}` }));
  }

  async function push(repository: string) {
    const tar = await randomLayer(100_000);
    return await pushImage(registry.host, repository, 'v1', [tar]);
  }

  async function keep(
    reference: string,
    selector: string,
    schedule?: string,
  ): Promise<{ name: string; pull: string }> {
    const keeping = { retention: { previous: 1 }, ...(schedule === undefined ? {} : { schedule }) };
    const services = { config: fleet.config, redis: fleet.redis, store };
    return await keepImage({ reference, nodes: [], selector }, keeping, services);
  }

  /** Waits until a node holds an image, ready to run, as the fleet knows it. */
  async function untilHeld(node: string, digest: string): Promise<void> {
    await until(`${digest} on ${node}`, async () => {
      const held = await imagesOfNodes(fleet.redis, fleet.config.redis.prefix, [node]);
      return held.get(node)?.some((each) => each === digest);
    });
  }

  async function pullsOf(name: string): Promise<number> {
    const records = new PullRecords(fleet.redis, fleet.config.redis.prefix);
    const found = await Promise.all((await records.recent(200)).map((id) => records.get(id)));
    return found.filter((each) => each?.desired === name && each.nodes.total > 0).length;
  }

  const downloads = async (digest: string) =>
    (await registry.accessLog()).filter(
      ({ method, path, status }) => method === 'GET' && path.includes(digest) && status === 200,
    ).length;

  test('a node that joins later and matches gets it; one that does not match does not', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server')) return;
    const image = await push('joined');
    const { name, pull } = await keep(image.reference, 'zone=a');
    assert.equal(name, 'joined-v1');
    assert.equal((await fleet.ended(pull)).state, 'ready');
    await Promise.all([startAgent('n3', 'a'), startAgent('n4', 'b')]);
    await untilHeld('n3', image.digest);
    const held = await imagesOfNodes(fleet.redis, fleet.config.redis.prefix, ['n1', 'n2', 'n4']);
    assert.deepEqual(held.get('n1'), [image.digest]);
    assert.deepEqual([held.get('n2'), held.get('n4')], [[], []]);
    const set = await sets.get(name);
    assert.equal(set?.current?.target.digest, image.digest);
    assert.equal(await downloads(image.layers[0]?.digest ?? ''), 1);
    // Nothing is asked for that is there.
    const before = await pullsOf(name);
    await sleep(7_000);
    assert.equal(await pullsOf(name), before);
    await assert.rejects(keepAs(name, (await push('other')).reference), { code: 'CONFLICT' });
  });

  async function keepAs(name: string, reference: string): Promise<void> {
    await keepImage(
      { reference, nodes: [], selector: '' },
      { name, retention: { previous: 0 } },
      { config: fleet.config, redis: fleet.redis, store },
    );
  }

  test('a node that comes back without it is brought to it again', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server')) return;
    const image = await push('drifted');
    const { pull } = await keep(image.reference, 'zone=b');
    assert.equal((await fleet.ended(pull)).state, 'ready');
    await agents.get('n2')?.stop();
    await rm(fleet.nodeRoot('n2'), { recursive: true, force: true });
    await startAgent('n2', 'b');
    await untilHeld('n2', image.digest);
    const nodes = await listNodes(fleet.redis, fleet.config.redis.prefix);
    const disk = nodes.find(({ name }) => name === 'n2')?.disk;
    assert.ok((disk?.diskFree ?? 0) > 0);
    assert.equal(await downloads(image.layers[0]?.digest ?? ''), 1);
  });

  test('on schedule a tag is looked at again, and rolled out only when its digest changed', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server')) return;
    const first = await push('scheduled');
    const { name, pull } = await keep(first.reference, 'zone=a', '10s');
    assert.equal((await fleet.ended(pull)).state, 'ready');
    const rollouts = await pullsOf(name);
    const looks = async () =>
      (await registry.accessLog()).filter(
        ({ method, path }) => method !== 'PUT' && path.endsWith('/scheduled/manifests/v1'),
      ).length;
    const before = await looks();
    await until('another look at the tag', async () => (await looks()) > before);
    assert.equal(await pullsOf(name), rollouts, 'it was rolled out though nothing had changed');
    const second = await push('scheduled');
    await Promise.all(['n1', 'n3'].map((node) => untilHeld(node, second.digest)));
    const set = (await sets.get(name)) as DesiredSet;
    assert.deepEqual(
      retainedVersions(set).map(({ target }) => target.digest),
      [second.digest, first.digest],
    );
    const record = await store.images.get(second.reference);
    assert.equal(record?.target.digest, second.digest, 'the name moved on with it');
    assert.ok(await sets.remove(name));
  });

  test('after Redis was wiped, the sets are there, and what a node lacks is brought to it', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server')) return;
    const image = await push('wiped');
    const { name, pull } = await keep(image.reference, 'zone=b');
    assert.equal((await fleet.ended(pull)).state, 'ready');
    await fleet.redis.flushall();
    assert.deepEqual(
      (await sets.list()).map((set) => set.name),
      ['drifted-v1', 'joined-v1', name],
    );
    await startAgent('n5', 'b');
    await untilHeld('n5', image.digest);
    await untilHeld('n2', image.digest);
    assert.equal(await downloads(image.layers[0]?.digest ?? ''), 1);
  });

  test('a set that ends by itself is gone then, and keeps nothing', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server')) return;
    const image = await push('ended');
    await keepImage(
      { reference: image.reference, nodes: [], selector: 'zone=nowhere' },
      { name: 'ended', retention: { previous: 0, until: new Date(Date.now() + 1_000) } },
      { config: fleet.config, redis: fleet.redis, store },
    );
    await until('its end', async () => (await store.desired.get('ended')) === undefined);
    const isListed = async () => (await sets.list()).some(({ name }) => name === 'ended');
    await until('the end of its copy in Redis', async () => !(await isListed()));
  });
});
