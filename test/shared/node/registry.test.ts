import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { digestOf } from '../../../shared/image/digest.ts';
import {
  getNode,
  heartbeat,
  listNodes,
  markNode,
  type NodeDescription,
  removeNode,
} from '../../../shared/node/registry.ts';
import type { Redis } from '../../../shared/queue/connection.ts';
import { keysOf } from '../../../shared/queue/names.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';

const prefix = '{test}';
const keys = keysOf(prefix);

function described(name: string): NodeDescription {
  return {
    ...{ name, platform: 'linux/amd64', version: '0', labels: {}, images: 1, containers: 0 },
    capacity: { cpus: 2, memoryBytes: 1 },
    disk: { snapshots: 1, bytes: 1, diskSize: 2, diskFree: 1 },
    problems: [],
  };
}

describe('the nodes of a fleet', () => {
  let server: TestRedis;
  let redis: Redis;
  before(async () => {
    server = await startRedis();
    redis = server.connect();
  });
  after(() => server[Symbol.asyncDispose]());

  test('the first heartbeat registers a node; n9 comes before n10', async () => {
    for (const name of ['n10', 'n9']) {
      assert.equal(await heartbeat(redis, prefix, described(name)), true);
      assert.equal(await heartbeat(redis, prefix, described(name)), false);
    }
    const nodes = await listNodes(redis, prefix);
    assert.deepEqual(
      nodes.map(({ name, state }) => [name, state]),
      [
        ['n9', 'ready'],
        ['n10', 'ready'],
      ],
    );
    await assert.rejects(getNode(redis, prefix, 'n11'), {
      ...{ code: 'NOT_FOUND', hint: 'The nodes are: n9, n10.' },
    });
  });

  test('a node that is lost can be forgotten, with all that is known of it', async () => {
    const name = 'gone';
    const held = digestOf('an image');
    await heartbeat(redis, prefix, described(name));
    await markNode(redis, prefix, name, 'cordoned');
    await redis.sadd(keys.nodeImages(name), held);
    await redis.sadd(keys.imageNodes(held), name, 'n9');
    await assert.rejects(removeNode(redis, prefix, name), { code: 'CONFLICT' });
    // As after half a minute without a word of its agent.
    await redis.zincrby(keys.nodesSeen, -31_000, name);
    assert.equal((await getNode(redis, prefix, name)).state, 'lost');
    await removeNode(redis, prefix, name);
    await assert.rejects(getNode(redis, prefix, name), { code: 'NOT_FOUND' });
    assert.deepEqual(await redis.smembers(keys.imageNodes(held)), ['n9']);
    assert.equal(await heartbeat(redis, prefix, described(name)), true);
    const { mark } = await getNode(redis, prefix, name);
    assert.equal(mark, undefined);
  });
});
