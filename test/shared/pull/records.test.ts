import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DrayError } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import { createPull, type NewPull } from '../../../shared/pull/create.ts';
import { headOfNew } from '../../../shared/pull/head.ts';
import { newPullId } from '../../../shared/pull/id.ts';
import { waitingNodes } from '../../../shared/pull/pull-nodes.ts';
import { Pulls } from '../../../shared/pull/pulls.ts';
import { PullRecords } from '../../../shared/pull/records.ts';
import { PullSummaries } from '../../../shared/pull/summary.ts';
import type { Redis } from '../../../shared/queue/connection.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';

const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';

function descriptor(content: string): Descriptor {
  return { mediaType: layerType, digest: digestOf(content), size: content.length };
}

describe('pull records', () => {
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

  const request = { reference: 'localhost:1/a:b', platform: 'linux/amd64', want: 'image' } as const;

  test('the first resolve pins the digest, a later one gets what was pinned', async () => {
    const id = await records.create({ ...request, nodes: [] });
    const first = await records.pin(id, descriptor('one'));
    const second = await records.pin(id, descriptor('two'));
    assert.equal(first.digest, digestOf('one'));
    assert.equal(second.digest, digestOf('one'));
  });

  test('a new pull is told as it is read, and is made once', async () => {
    const wanted = {
      ...request,
      nodes: ['n10', 'n9'],
      priority: 'high',
      policy: 'missing',
      credential: 'team',
      pace: { parallelism: 2, canary: 1, timeoutMs: 60_000 },
      given: { target: descriptor('given'), askedAt: new Date(1_000) },
    } as const satisfies NewPull;
    const id = newPullId();
    const { record } = await createPull(redis, records.keys, wanted, id);
    assert(record !== undefined);
    const told = { ...headOfNew(record), nodes: waitingNodes(wanted.nodes) };
    assert.deepEqual(told, await pulls.get(id));
    assert.deepEqual(
      told.nodes.map(({ name }) => name),
      ['n9', 'n10'],
    );
    assert.equal(
      (await createPull(redis, records.keys, { ...wanted, reference: 'localhost:1/c:d' }, id))
        .record,
      undefined,
    );
    assert.equal((await pulls.get(id))?.reference, request.reference);
    assert.deepEqual(await records.recent(1), [id]);
  });

  test('a pull is ready only when blobs, name and every node are', async () => {
    const id = await records.create({ ...request, nodes: ['n1', 'n2'] });
    const [a, b] = [descriptor('a'), descriptor('b')];
    await records.plan(
      id,
      [{ platform: 'linux/amd64', manifest: a, layers: [] }],
      [
        { descriptor: a, kind: 'layer', existed: false },
        { descriptor: b, kind: 'layer', existed: false },
      ],
    );
    assert.equal(await records.state(id), 'fetching');
    assert.deepEqual(await records.blobs.waiting(a.digest), [id]);
    assert.equal(await records.blobs.arrived(id, a.digest, a.size), 'waits');
    // The same word twice is one word.
    assert.equal(await records.blobs.arrived(id, a.digest, a.size), 'waits');
    assert.equal(await records.blobs.arrived(id, b.digest, b.size + 1), 'mismatch');
    assert.deepEqual(
      await records.blobs.missing(id),
      [b.digest],
      'it waits for what its manifest says',
    );
    assert.equal(await records.blobs.arrived(id, b.digest, b.size), 'whole');
    assert.equal(await records.named(id), 'unpacking');
    assert.deepEqual(await records.nodes.admit(id), ['n1', 'n2']);
    await records.nodes.set(id, 'n1', { state: 'ready', layers: [] });
    assert.equal(await records.state(id), 'unpacking');
    await records.nodes.set(id, 'n2', { state: 'ready', layers: [] });
    assert.equal(await records.state(id), 'ready');
    assert.ok(!(await records.open()).includes(id));
    const status = await pulls.get(id);
    assert.equal(status?.state, 'ready');
    assert.ok(status?.finishedAt instanceof Date);
  });

  test('a node that fails fails the pull once the others have settled, and says why', async () => {
    const id = await records.create({ ...request, nodes: ['n1', 'n2'] });
    const a = descriptor('c');
    await records.plan(
      id,
      [{ platform: 'linux/amd64', manifest: a, layers: [] }],
      [{ descriptor: a, kind: 'layer', existed: true }],
    );
    await records.named(id);
    assert.deepEqual(await records.nodes.admit(id), ['n1', 'n2']);
    await records.nodes.set(id, 'n1', {
      state: 'failed',
      layers: [],
      error: { code: 'DIFFID_MISMATCH', message: 'layer 1', retryable: false },
    });
    assert.equal(await records.state(id), 'unpacking');
    await records.nodes.set(id, 'n2', { state: 'ready', layers: [] });
    const status = await pulls.get(id);
    assert.equal(status?.state, 'partial');
    assert.deepEqual([status?.counts.ready, status?.counts.failed], [1, 1]);
    assert.equal(status?.nodes.find((n) => n.name === 'n1')?.error?.code, 'DIFFID_MISMATCH');
  });

  test('a failed blob ends the pull at once; the first reason stays; nobody waits any more', async () => {
    const id = await records.create({ ...request, nodes: ['n1'] });
    const a = descriptor('d');
    await records.plan(
      id,
      [{ platform: 'linux/amd64', manifest: a, layers: [] }],
      [{ descriptor: a, kind: 'layer', existed: false }],
    );
    await records.fail(
      id,
      new DrayError('BLOB_UNKNOWN', 'gone', { context: { digest: a.digest } }),
    );
    await records.fail(id, new DrayError('INTERNAL', 'later'));
    const status = await pulls.get(id);
    assert.equal(status?.state, 'failed');
    assert.equal(status?.error?.code, 'BLOB_UNKNOWN');
    assert.equal(status?.blobs[0]?.state, 'failed');
    assert.deepEqual(await records.blobs.waiting(a.digest), []);
  });

  test('whoever watches sees each change and the end', async () => {
    const id = await records.create({ ...request, nodes: [] });
    const seen: string[] = [];
    const watching = (async () => {
      for await (const status of pulls.watch(id)) seen.push(status.state);
    })();
    const a = descriptor('e');
    await records.resolving(id);
    await records.plan(
      id,
      [{ platform: 'linux/amd64', manifest: a, layers: [] }],
      [{ descriptor: a, kind: 'layer', existed: false }],
    );
    await records.transfers.moved(a.digest, 1);
    assert.equal((await pulls.get(id))?.blobs[0]?.state, 'fetching');
    await records.blobs.arrived(id, a.digest, a.size);
    await records.named(id);
    await watching;
    assert.equal(seen.at(-1), 'ready');
  });

  test('a transfer whose worker says nothing any more is told, until another one is at it', async () => {
    const id = await records.create({ ...request, nodes: [] });
    const a = descriptor('g');
    await records.plan(
      id,
      [{ platform: 'linux/amd64', manifest: a, layers: [] }],
      [{ descriptor: a, kind: 'layer', existed: false }],
    );
    await records.transfers.moved(a.digest, 1);
    await records.transfers.attend(a.digest);
    assert.equal((await pulls.get(id))?.note, undefined);
    // As when its time is over.
    await redis.del(records.keys.blobAttended(a.digest));
    const { note, blobs } = (await pulls.get(id)) ?? {};
    assert.match(note ?? '', /^the worker that fetched sha256:\w{12} is gone: another one goes on/);
    assert.equal(blobs?.[0]?.bytes, 1);
    await records.transfers.moved(a.digest, 1);
    assert.equal((await pulls.get(id))?.note, undefined);
  });

  test('a watch ends by its signal', async () => {
    const id = await records.create({ ...request, nodes: [] });
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    for await (const status of pulls.watch(id, { signal: stop.signal })) {
      assert.equal(status.state, 'queued');
    }
  });

  test('a pull that was cancelled stays so, whatever a late worker does with it', async () => {
    const id = await records.create({ ...request, nodes: [] });
    assert.equal(await records.cancel(id), 'cancelled');
    await records.resolving(id);
    assert.equal(await records.state(id), 'cancelled');
    await records.plan(id, [], []);
    await records.named(id);
    assert.equal(await records.cancel(id), 'cancelled');
  });

  test('a record that can not be read is named, keeps no other from being listed, and can be cancelled', async () => {
    const whole = await records.create({ ...request, nodes: [] });
    const damaged = await records.create({ ...request, nodes: [] });
    await redis.hset(records.keys.pull(damaged), 'images', '{');
    await assert.rejects(pulls.get(damaged), {
      code: 'INTERNAL',
      message: new RegExp(damaged),
    });
    const listed = await new PullSummaries(redis, '{test}').list({ limit: 2 });
    assert.deepEqual(
      listed.map(({ id }) => id),
      [whole],
    );
    assert.equal(await records.cancel(damaged), 'cancelled');
    assert.ok(!(await records.open()).includes(damaged));
  });

  test('a second plan changes nothing', async () => {
    const id = await records.create({ ...request, nodes: [] });
    const a = descriptor('f');
    await records.plan(
      id,
      [{ platform: 'linux/amd64', manifest: a, layers: [] }],
      [{ descriptor: a, kind: 'layer', existed: false }],
    );
    await records.blobs.arrived(id, a.digest, a.size);
    await records.plan(
      id,
      [{ platform: 'linux/amd64', manifest: a, layers: [] }],
      [{ descriptor: a, kind: 'layer', existed: false }],
    );
    assert.deepEqual(await records.blobs.missing(id), []);
  });
});
