import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { digestOf } from '../../../shared/image/digest.ts';
import { Pulls } from '../../../shared/pull/pulls.ts';
import { PullRecords } from '../../../shared/pull/records.ts';
import type { NodeStatus, PullStatus } from '../../../shared/pull/status.ts';
import type { Redis } from '../../../shared/queue/connection.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';

const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const layers = [1, 2, 3].map((i) => digestOf(`layer ${i}`));

describe('following a pull to many nodes', () => {
  let server: TestRedis;
  let redis: Redis;
  let records: PullRecords;
  let pulls: Pulls;

  before(async () => {
    server = await startRedis();
    redis = server.connect();
    records = new PullRecords(redis, '{test}');
    pulls = new Pulls(redis, '{test}');
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  /** A pull whose content is there, and whose nodes may begin. */
  async function planned(count: number): Promise<{ id: string; names: string[] }> {
    const names = Array.from({ length: count }, (_, i) => `n${i}`);
    const id = await records.create({
      ...{ reference: 'localhost:1/a:b', platform: 'linux/amd64', want: 'image', nodes: names },
    });
    const blobs = layers.map((digest) => ({
      descriptor: { mediaType: layerType, digest, size: 10 },
      ...{ kind: 'layer' as const, existed: true },
    }));
    const manifest = { mediaType: 'a/b', digest: digestOf('manifest'), size: 1 };
    await records.plan(id, [{ platform: 'linux/amd64', manifest, layers }], blobs);
    await records.named(id);
    assert.deepEqual(await records.nodes.admit(id), names);
    return { id, names };
  }

  const unpacking = (bytes: number) =>
    layers.map((digest) => ({ digest, state: 'unpacking' as const, bytes, existed: false }));
  const done = layers.map((digest, i) => ({
    ...{ digest, state: 'done' as const, bytes: i, existed: false },
  }));

  /** What some nodes of a pull do, in some order; every tenth fails. */
  async function work(id: string, names: readonly string[]): Promise<void> {
    for (const bytes of [1, 2]) {
      for (const name of names) {
        await records.nodes.set(id, name, { state: 'unpacking', layers: unpacking(bytes) });
      }
    }
    for (const [i, name] of names.entries()) {
      if (i % 10 === 3) await records.nodes.fail(id, name, new Error(`${name} is at fault`));
      else await records.nodes.set(id, name, { state: 'ready', layers: done });
      if (i % 7 === 0) await setImmediate();
    }
  }

  test('whoever is cut off again and again, and comes back with the last id, misses nothing', async () => {
    const { id, names } = await planned(300);
    let last: string | undefined;
    let tree = new Map<string, NodeStatus>();
    let status: PullStatus | undefined;
    let whole = 0;
    for (let first = 0; first < names.length; first += 20) {
      await work(id, names.slice(first, first + 20));
      // It comes back, sees what is new, and is cut off.
      for await (const view of pulls.follow(id, last === undefined ? {} : { after: last })) {
        if (view.changed === undefined) {
          tree = new Map();
          whole++;
        }
        for (const node of view.changed ?? view.status.nodes) tree.set(node.name, node);
        last = view.change;
        status = view.status;
        // What it has put together by itself is what there is.
        assert.deepEqual(new Set(tree.values()), new Set(view.status.nodes));
        break;
      }
    }
    assert.equal(whole, 1, 'it got the whole again');
    assert.equal(status?.state, 'partial');
    const now = await pulls.get(id);
    assert.deepEqual(new Set(tree.values()), new Set(now?.nodes));
    assert.deepEqual(now?.counts, { waiting: 0, unpacking: 0, ready: 270, failed: 30, stopped: 0 });
    assert.deepEqual(status?.counts, now?.counts);
    assert.match(tree.get('n3')?.error?.message ?? '', /n3 is at fault/);
    assert.deepEqual(tree.get('n4')?.layers, done);
  });

  test('who comes back after longer than events are kept gets the whole', async () => {
    const { id, names } = await planned(20);
    let change = '';
    for await (const view of pulls.follow(id)) {
      change = view.change;
      break;
    }
    await work(id, names);
    await redis.xtrim('{test}:dray:pull:{id}:events'.replace('{id}', id), 'MAXLEN', 1);
    for await (const view of pulls.follow(id, { after: change })) {
      assert.equal(view.changed, undefined);
      assert.equal(view.status.nodes.length, 20);
      assert.equal(view.status.state, 'partial');
    }
  });

  test('who has seen the end gets it again, and nothing else', async () => {
    const { id, names } = await planned(5);
    await work(id, names);
    let last = '';
    for await (const { change } of pulls.follow(id)) last = change;
    const again = await Array.fromAsync(pulls.follow(id, { after: last }));
    assert.equal(again.length, 1);
    assert.deepEqual(again[0]?.changed, []);
    assert.equal(again[0]?.status.state, 'partial');
  });

  test('a node costs Redis the same, however many the pull has', async () => {
    const costs = [];
    for (const count of [10, 1_000]) {
      const { id, names } = await planned(count);
      await redis.config('RESETSTAT');
      await work(id, names);
      const { calls, usec } = await commandUse(redis);
      costs.push({ calls: calls / count, usec: usec / count });
    }
    const [few, many] = costs;
    assert.ok(few !== undefined && many !== undefined);
    assert.ok(many.calls <= 1.3 * few.calls, JSON.stringify(costs));
    // Microseconds of a busy machine: what grows with the number of nodes would be a hundred times as much.
    assert.ok(many.usec <= 5 * few.usec, JSON.stringify(costs));
  });
});

/** What commands Redis has run since its counts were reset, those inside of scripts too. */
async function commandUse(redis: Redis): Promise<{ calls: number; usec: number }> {
  let calls = 0;
  let usec = 0;
  for (const line of (await redis.info('commandstats')).split('\n')) {
    const [, count, time] = /^cmdstat_\S+:calls=(\d+),usec=(\d+)/.exec(line) ?? [];
    calls += Number(count ?? 0);
    // Of a script, what it calls is in its own time already.
    if (/^cmdstat_eval/.test(line)) usec += Number(time ?? 0);
  }
  return { calls, usec };
}
