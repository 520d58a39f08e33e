import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { putBytes } from '../../../shared/content/blob.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import type { PlannedBlob } from '../../../shared/pull/record.ts';
import { fetchQueue } from '../../../shared/queue/names.ts';
import { reconcile } from '../../../worker/fleet/reconcile.ts';
import { requireTool } from '../../support/requirements.ts';
import { openPullBench } from './pull-bench.ts';

const log = pino({ level: 'silent' });

test('a round asks the store, and enqueues a fetch, once for a blob that many pulls wait for', async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  await using bench = await openPullBench();
  const { records, queues, store, create } = bench;
  const bytes = [Buffer.from('stored'), Buffer.from('missing')];
  const blobs = bytes.map((content): PlannedBlob => {
    const digest = digestOf(content);
    const descriptor = { mediaType: 'a/b', digest, size: content.length };
    return { descriptor, kind: 'layer', existed: false };
  });
  const [stored, missing] = blobs.map(({ descriptor }) => descriptor);
  assert.ok(stored && missing);
  const ids: string[] = [];
  for (let i = 0; i < 20; i++) {
    const id = await create(`localhost:1/a${i}:b`, { priority: i === 7 ? 'high' : 'low' });
    await records.plan(id, [], blobs);
    await records.lookAt(id, 1);
    ids.push(id);
  }
  await putBytes(store.content, stored, bytes[0] ?? Buffer.alloc(0));
  const asked: string[] = [];
  const content = {
    ...store.content,
    info: async (...args: Parameters<typeof store.content.info>) => {
      asked.push(args[0]);
      return await store.content.info(...args);
    },
  };
  await reconcile(
    { ...bench, log, store: { ...store, content } },
    { signal: AbortSignal.timeout(30_000) },
  );
  assert.deepEqual(asked.sort(), [stored.digest, missing.digest].sort());
  for (const id of ids) assert.deepEqual(await records.blobs.missing(id), [missing.digest]);
  const jobs = await queues.queue(fetchQueue).getJobs(['prioritized', 'wait']);
  assert.deepEqual(
    jobs.map(({ data, priority }) => [data.digest, priority]),
    [[missing.digest, 2]],
    'with the highest of their priorities',
  );
});

test("a pull that can't be looked after keeps none of the others from their turn", async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  await using bench = await openPullBench();
  const { redis, records, create } = bench;
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) {
    const id = await create(`localhost:1/a${i}:b`);
    await records.plan(id, [], []);
    await records.lookAt(id, 1);
    ids.push(id);
  }
  // As a later version, or somebody's hand, may leave it.
  for (const id of [ids[0], ids[2]]) await redis.hset(records.keys.pull(id ?? ''), 'images', '{');
  await reconcile({ ...bench, log }, { signal: AbortSignal.timeout(30_000) });
  const states = await Promise.all(ids.map((id) => records.state(id)));
  assert.deepEqual(states, ['fetching', 'ready', 'fetching', 'ready', 'ready']);
});
