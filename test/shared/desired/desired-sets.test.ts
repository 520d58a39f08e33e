import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { openStore } from '../../../shared/content/open.ts';
import type { ChangingRecords, Store } from '../../../shared/content/store.ts';
import type { DesiredSet } from '../../../shared/desired/desired-set.ts';
import { DesiredSets } from '../../../shared/desired/desired-sets.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import type { Redis } from '../../../shared/queue/connection.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';

const prefix = '{test}';
const set: DesiredSet = {
  ...{ name: 'web', reference: 'localhost:5000/web:v1', platform: 'linux/amd64', selector: '' },
  ...{ retention: { previous: 1 }, pace: {}, priority: 'normal' },
  ...{ createdAt: new Date(), previous: [] },
};
const manifest = {
  ...{ mediaType: 'application/vnd.oci.image.manifest.v1+json', size: 1 },
  digest: digestOf(Buffer.from('manifest')),
};
const version = { target: manifest, manifest, since: new Date() };

describe('desired sets that several change at once', () => {
  let server: TestRedis;
  let redis: Redis;
  let folder: string;
  let store: Store;
  let sets: DesiredSets;

  before(async () => {
    server = await startRedis();
    redis = server.connect();
    folder = await mkdtemp(path.join(tmpdir(), 'dray-desired-'));
    store = await openStore({ kind: 'folder', path: folder });
    sets = new DesiredSets(redis, prefix, store.desired);
  });
  after(async () => {
    await store[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    await sets.update('web', () => set);
    assert.deepEqual(await sets.list(), [set]);
  });

  /** Somebody who is held up between a change in the store and its copy in Redis while `others` do theirs. */
  function heldUp(others: () => Promise<unknown>): DesiredSets {
    const slow: ChangingRecords<DesiredSet> = {
      list: (options) => store.desired.list(options),
      get: (name, options) => store.desired.get(name, options),
      put: (record, options) => store.desired.put(record, options),
      remove: async (name, options) => {
        const existed = await store.desired.remove(name, options);
        await others();
        return existed;
      },
      update: async (name, change, options) => {
        const isChanged = await store.desired.update(name, change, options);
        await others();
        return isChanged;
      },
    };
    return new DesiredSets(redis, prefix, slow);
  }

  test('one that is removed while its reference is resolved does not come back', async () => {
    const resolving = heldUp(() => sets.remove('web'));
    await resolving.resolved('web', version);
    assert.deepEqual(await sets.list(), []);
    assert.equal(await store.desired.get('web'), undefined);
    assert.equal(await sets.resolved('web', version), false);
    assert.equal(await store.desired.get('web'), undefined);
  });

  test('one that is made anew while it is removed stays', async () => {
    const removing = heldUp(() => sets.update('web', () => ({ ...set, selector: 'zone=a' })));
    assert.equal(await removing.remove('web'), true);
    assert.deepEqual(await sets.list(), [{ ...set, selector: 'zone=a' }]);
  });

  test('what was resolved and what a person changed meanwhile both hold', async () => {
    const resolving = heldUp(() =>
      sets.update('web', (before) => before && { ...before, schedule: '6h' }),
    );
    assert.equal(await resolving.resolved('web', version), true);
    const expected = [{ ...set, schedule: '6h', current: version }];
    assert.deepEqual(await sets.list(), expected);
    assert.deepEqual(await store.desired.list(), expected);
  });
});
