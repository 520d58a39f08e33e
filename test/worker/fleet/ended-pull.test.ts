import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DrayError, encodeError } from '../../../shared/errors.ts';
import { mediaTypes } from '../../../shared/image/descriptor.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import { PullRecords } from '../../../shared/pull/records.ts';
import { JobQueues } from '../../../shared/queue/jobs.ts';
import { fetchQueue } from '../../../shared/queue/names.ts';
import { startFleet } from '../../support/fleet.ts';
import { startHostileRegistry } from '../../support/hostile-registry.ts';
import { requireTool } from '../../support/requirements.ts';
import { until } from '../../support/until.ts';

test('a pull whose end was left half done by a worker that died ends, and no registry is asked for it', async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  await using registry = await startHostileRegistry();
  await using fleet = await startFleet();
  const { prefix } = fleet.config.redis;
  const records = new PullRecords(fleet.redis, prefix);
  const gone = new DrayError('BLOB_UNKNOWN', 'the registry does not have it');
  const [begun = '', settled = ''] = await Promise.all(
    ['begun', 'settled'].map(async (name) => {
      const digest = digestOf(name);
      const descriptor = { mediaType: mediaTypes.ociManifest, digest, size: 5 };
      const reference = `${registry.host}/${name}:v1`;
      const wanted = { reference, platform: 'linux/amd64', nodes: [] };
      const id = await records.create({ ...wanted, want: 'image' });
      await records.plan(id, [], [{ descriptor, kind: 'layer', existed: false }]);
      // What stands in Redis after the first step of the end.
      const error = JSON.stringify(encodeError(gone));
      await fleet.redis.hset(records.keys.pull(id), 'error', error);
      return id;
    }),
  );
  assert.equal(await records.settle(settled), 'failed');
  await using queues = new JobQueues(fleet.redis, prefix);
  await queues.add([
    { queue: 'fetch-blob', digest: digestOf('settled'), priority: 'normal' },
    { queue: 'fetch-blob', digest: digestOf('begun'), priority: 'normal' },
  ]);
  await fleet.startWorker('w1');
  for (const id of [begun, settled]) {
    assert.equal((await fleet.ended(id)).error?.code, 'BLOB_UNKNOWN');
  }
  await until('that nothing is left to fetch', async () => {
    const counts = await queues.queue(fetchQueue).getJobCounts('active', 'prioritized', 'delayed');
    return Object.values(counts).every((count) => count === 0);
  });
  for (const name of ['begun', 'settled']) {
    assert.deepEqual(await records.blobs.waiting(digestOf(name)), []);
  }
  const asked = registry.requests.filter(({ path }) => path.includes('/settled/'));
  assert.deepEqual(asked, []);
});

test('a pull whose record can not be read keeps no other from the blob that both wait for', async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  await using registry = await startHostileRegistry();
  await using fleet = await startFleet();
  const records = new PullRecords(fleet.redis, fleet.config.redis.prefix);
  const bytes = Buffer.from('shared');
  const digest = digestOf(bytes);
  const descriptor = { mediaType: mediaTypes.ociManifest, digest, size: bytes.length };
  registry.serve(`/v2/whole/manifests/${digest}`, bytes);
  registry.serve(`/v2/whole/blobs/${digest}`, bytes);
  const create = async (name: string) => {
    const reference = `${registry.host}/${name}:v1`;
    const wanted = { reference, platform: 'linux/amd64', nodes: [] };
    const id = await records.create({ ...wanted, want: 'object' });
    await records.plan(id, [], [{ descriptor, kind: 'layer', existed: false }]);
    return id;
  };
  const [damaged, whole] = [await create('damaged'), await create('whole')];
  await fleet.redis.hset(records.keys.pull(damaged), 'images', '{');
  await fleet.startWorker('w1');
  assert.equal((await fleet.ended(whole)).state, 'ready');
  await records.cancel(damaged);
  assert.equal(await records.state(damaged), 'cancelled');
});
