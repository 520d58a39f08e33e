import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkServer } from '../../../shared/queue/server-check.ts';
import { startFleet } from '../../support/fleet.ts';
import { startRedis } from '../../support/redis.ts';
import { requireTool } from '../../support/requirements.ts';

const careless = ['--appendonly', 'no', '--maxmemory-policy', 'allkeys-lru'];

async function check(args: string[], forbid = false) {
  await using server = await startRedis({ args });
  const redis = server.connect();
  if (forbid) await redis.call('ACL', 'SETUSER', 'default', '-info');
  return await checkServer(redis);
}

test('a Redis that keeps what it accepts is nothing to warn of', async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  assert.deepEqual(await check([]), { isKnown: true, warnings: [] });
});

test('a Redis that would lose work is, with what to set', async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  const { isKnown, warnings } = await check(careless);
  assert.equal(isKnown, true);
  assert.match(warnings.join('\n'), /Set: appendonly yes\n.*allkeys-lru.*noeviction/);
});

test('where INFO is forbidden, that is said, and a worker works all the same', async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  const { isKnown, warnings } = await check(careless, true);
  assert.equal(isKnown, false);
  assert.match(warnings.join(), /can't be checked.*\+info/);

  await using fleet = await startFleet({ redisArgs: careless });
  const warned = await fleet.startWorker('w1');
  assert.match(await warned.log(), /appendonly yes/);
  await fleet.redis.call('ACL', 'SETUSER', 'default', '-info');
  const worker = await fleet.startWorker('w2');
  assert.match(await worker.log(), /can't be checked/);
  await warned.kill();
  const id = await fleet.pull({ reference: 'localhost:1/a:b', nodes: [] });
  for await (const { state, note } of fleet.pulls.watch(id)) {
    if (state === 'failed' || note !== undefined) break;
  }
});
