import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { connectRedis, duplicate } from '../../../shared/queue/connection.ts';
import { freePort } from '../../support/ports.ts';
import { startRedis } from '../../support/redis.ts';
import { startRedisCluster, startSentinels } from '../../support/redis-topologies.ts';
import { requireTool } from '../../support/requirements.ts';

test('a Sentinel that accepts connections and never answers is passed over', {
  timeout: 180_000,
}, async (t) => {
  if (!requireTool(t, 'redis-server', 'redis-cli')) return;
  await using group = await startSentinels();
  const sockets: Socket[] = [];
  const silent = createServer((socket) => void sockets.push(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const url = group.url.replace('://', `://127.0.0.1:${port},`);
  const redis = connectRedis({ url, prefix: '{dray}' }, { name: 'test', patient: true });
  try {
    assert.equal(await redis.ping(), 'PONG');
    assert.ok(sockets.length > 0, 'it was asked');
  } finally {
    redis.disconnect();
    for (const socket of sockets) socket.destroy();
    silent.close();
  }
});

test('a patient connection that is closed between two tries ends, and so do its commands', {
  timeout: 120_000,
}, async () => {
  const url = `redis://127.0.0.1:${await freePort()}`;
  const first = connectRedis({ url, prefix: '{dray}' }, { name: 'test', patient: true });
  const second = duplicate(first);
  const ended = [first, second].map(async (redis) => {
    // Nothing listens there.
    for (let tries = 0; tries < 3; tries++) {
      await new Promise<void>((resolve) => void redis.once('reconnecting', () => resolve()));
    }
    const answer = redis.ping().catch((error: Error) => error.message);
    assert.equal(redis.status, 'reconnecting');
    redis.disconnect();
    assert.match(String(await answer), /closed/);
    assert.equal(redis.status, 'end');
  });
  await Promise.all(ended);
});

test('commands of one turn go out together and in order, also once Redis was away', {
  timeout: 60_000,
}, async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  await using server = await startRedis();
  const redis = connectRedis(
    { url: server.url, prefix: '{dray}' },
    { name: 'test', patient: true, gathers: true },
  );
  const reads = async () =>
    Number(/total_reads_processed:(\d+)/.exec(await redis.info('stats'))?.[1]);
  try {
    for (const time of ['first', 'restarted']) {
      const before = await reads();
      const counted = await Promise.all(Array.from({ length: 100 }, () => redis.incr(time)));
      assert.deepEqual(
        counted,
        counted.map((_, i) => i + 1),
      );
      // The question counts as one, too.
      assert.ok((await reads()) - before <= 10, time);
      await server.restart();
    }
  } finally {
    redis.disconnect();
  }
});

test('a Cluster gets what is gathered for each of its nodes', { timeout: 60_000 }, async (t) => {
  if (!requireTool(t, 'redis-server', 'redis-cli')) return;
  await using group = await startRedisCluster();
  const redis = connectRedis(
    { url: group.url, prefix: '{dray}' },
    { name: 'test', patient: true, gathers: true },
  );
  try {
    const names = Array.from({ length: 100 }, (_, i) => `name-${i}`);
    await Promise.all(names.map((name, i) => redis.set(name, i)));
    const found = await Promise.all(names.map((name) => redis.get(name)));
    assert.deepEqual(
      found,
      names.map((_, i) => String(i)),
    );
  } finally {
    redis.disconnect();
  }
});
