import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { putBytes } from '../../../shared/content/blob.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import { blobArrived, contentComplete } from '../../../worker/fleet/join.ts';
import { requireTool } from '../../support/requirements.ts';
import { openPullBench } from './pull-bench.ts';

test('a blob arrives for all pulls at once; one whose manifest lies of its size fails, the others go on', async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  await using bench = await openPullBench();
  const { records, store, create } = bench;
  const bytes = Buffer.from('content');
  const descriptor = { mediaType: 'a/b', digest: digestOf(bytes), size: bytes.length };
  const ids: string[] = [];
  for (let i = 0; i < 40; i++) {
    const id = await create(`localhost:1/a${i}:b`);
    await records.pin(id, descriptor);
    const said = i === 20 ? { ...descriptor, size: 1 } : descriptor;
    await records.plan(id, [], [{ descriptor: said, kind: 'layer', existed: false }]);
    ids.push(id);
  }
  assert.equal(await blobArrived(bench, descriptor.digest), false, 'it is not there');
  await putBytes(store.content, descriptor, bytes);
  assert.equal(await blobArrived(bench, descriptor.digest), true);
  for (const [i, id] of ids.entries()) {
    const record = await records.get(id);
    assert.equal(record?.state, i === 20 ? 'failed' : 'ready');
    assert.equal(record?.error?.code, i === 20 ? 'SIZE_MISMATCH' : undefined);
  }
  assert.match(
    (await records.get(ids[20] ?? ''))?.error?.message ?? '',
    /has 1 bytes, but it has 7/,
  );
  assert.equal((await store.images.list()).length, 39);
  assert.deepEqual(await records.blobs.waiting(descriptor.digest), []);
});

test('a tag that moved while a pull was under way is not moved back when that pull ends', async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  await using bench = await openPullBench();
  const { records, store, create } = bench;
  const reference = 'localhost:1/app:latest';
  const pinned = async (content: string) => {
    const bytes = Buffer.from(content);
    const descriptor = { mediaType: 'a/b', digest: digestOf(bytes), size: bytes.length };
    const id = await create(reference);
    await records.pin(id, descriptor);
    await records.plan(id, [], [{ descriptor, kind: 'manifest', existed: false }]);
    await putBytes(store.content, descriptor, bytes);
    await records.blobs.arrived(id, descriptor.digest, descriptor.size);
    // Each is pinned in a millisecond of its own.
    await sleep(10);
    return { id, digest: descriptor.digest };
  };
  const first = await pinned('first');
  const second = await pinned('second');
  await contentComplete(bench, second.id);
  await contentComplete(bench, first.id);
  assert.equal(await records.state(first.id), 'ready');
  assert.equal((await store.images.get(reference))?.target.digest, second.digest);
  const third = await pinned('third');
  await contentComplete(bench, third.id);
  assert.equal((await store.images.get(reference))?.target.digest, third.digest);
});

test('a pull that can not go on when a blob arrives keeps none of the others waiting', async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  await using bench = await openPullBench();
  const { redis, records, store, create } = bench;
  const bytes = Buffer.from('shared');
  const descriptor = { mediaType: 'a/b', digest: digestOf(bytes), size: bytes.length };
  const ids = await Promise.all(
    Array.from({ length: 30 }, (_, i) => create(`localhost:1/a${i}:b`)),
  );
  for (const id of ids) {
    await records.pin(id, descriptor);
    await records.plan(id, [], [{ descriptor, kind: 'layer', existed: false }]);
  }
  const [damaged = '', ...others] = ids;
  await redis.hset(records.keys.pull(damaged), 'images', '{');
  await putBytes(store.content, descriptor, bytes);
  await assert.rejects(blobArrived(bench, descriptor.digest), { message: new RegExp(damaged) });
  for (const id of others) assert.equal(await records.state(id), 'ready');
});
