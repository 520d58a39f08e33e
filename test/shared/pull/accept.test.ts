import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '../../../shared/config/load.ts';
import { acceptPull } from '../../../shared/pull/accept.ts';
import { connectRedis } from '../../../shared/queue/connection.ts';
import { startRedis } from '../../support/redis.ts';
import { until } from '../../support/until.ts';

test('the job of a pull is enqueued after its record is there, in a Redis that knows no scripts (any more), too', async () => {
  await using server = await startRedis();
  const config = loadConfig({ env: { REDIS_URL: server.url, DRAY_CONFIG: '' } });
  const redis = connectRedis(config.redis, { name: 'test' });
  const seeing = connectRedis(config.redis, { name: 'seeing' });
  await using end = new AsyncDisposableStack();
  end.defer(() => redis.disconnect());
  end.defer(() => seeing.disconnect());
  assert.ok('monitor' in seeing);
  const monitor = await seeing.monitor();
  end.defer(() => monitor.disconnect());
  const seen: string[] = [];
  monitor.on('monitor', (_time: string, [name = '', key = '']: string[]) => {
    seen.push(`${name.toLowerCase()} ${key}`);
  });
  for (let round = 0; round < 3; round++) {
    await redis.script('FLUSH');
    seen.length = 0;
    const request = { reference: 'registry.example/app', nodes: [] };
    const { id } = await acceptPull(config, redis, request);
    await redis.call('PING', 'end');
    await until(
      () => seen.join('\n'),
      () => seen.includes('ping end'),
    );
    const record = seen.indexOf(`hset {dray}:dray:pull:${id}`);
    // Each add looks whether the job is there.
    const added = `exists {dray}:resolve:${id}`;
    const job = round === 0 ? seen.indexOf(added) : seen.lastIndexOf(added);
    assert.ok(record !== -1 && record < job, seen.join('\n'));
    assert.ok(seen.includes('zadd {dray}:resolve:prioritized'), seen.join('\n'));
  }
});
