import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { connectRedis, duplicate } from '../../../shared/queue/connection.ts';
import { freePort } from '../../support/ports.ts';
import { startSentinels } from '../../support/redis-topologies.ts';
import { requireTool } from '../../support/requirements.ts';

test('a Sentinel that accepts connections and never answers is passed over', {
  timeout: 60_000,
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
  timeout: 20_000,
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
