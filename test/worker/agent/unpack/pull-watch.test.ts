import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Store } from '../../../../shared/content/store.ts';
import type { DrayError } from '../../../../shared/errors.ts';
import { digestOf } from '../../../../shared/image/digest.ts';
import type { Manifest } from '../../../../shared/image/manifest.ts';
import { createLogger } from '../../../../shared/logging.ts';
import { PullRecords } from '../../../../shared/pull/records.ts';
import { NodeProgress } from '../../../../worker/agent/unpack/progress.ts';
import { PullWatch, unwanted } from '../../../../worker/agent/unpack/pull-watch.ts';
import { startRedis, type TestRedis } from '../../../support/redis.ts';
import { until } from '../../../support/until.ts';

const digests = ['one', 'two'].map((text) => digestOf(text));
const layers = digests.map((digest) => ({ mediaType: 'a/layer', digest, size: 10 }));
const config = { mediaType: 'a/config', digest: digestOf('config'), size: 1 };
const manifest = { config, layers } as unknown as Manifest;
describe('looking after the work of a node', () => {
  let server: TestRedis;
  let records: PullRecords;

  before(async () => {
    server = await startRedis();
    records = new PullRecords(server.connect(), '{test}');
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  /** A pull whose layers are wanted of n1; the second one is not in the store yet. */
  async function watched(
    noProgressMs: number,
  ): Promise<
    { id: string; progress: NodeProgress; why: () => DrayError | undefined } & AsyncDisposable
  > {
    const id = await records.create({
      ...{ reference: 'localhost:1/a:b', platform: 'linux/amd64', want: 'image', nodes: ['n1'] },
    });
    const blobs = layers.map((descriptor, i) => ({
      ...{ descriptor, kind: 'layer' as const, existed: i === 0 },
    }));
    const image = { ...config, digest: digestOf('manifest') };
    await records.plan(id, [{ platform: 'linux/amd64', manifest: image, layers: digests }], blobs);
    assert.deepEqual(await records.nodes.admit(id), ['n1']);
    const log = await createLogger('test', 'silent');
    const progress = new NodeProgress({ nodes: records.nodes, node: 'n1', log }, id, manifest, 1);
    const info = async () => ({ digest: digests[0], size: 10, createdAt: new Date() });
    const store = { content: { info } } as unknown as Store;
    let why: DrayError | undefined;
    const assignment = { nodeCount: 1, noProgressMs };
    const services = { node: 'n1', store, records, progress, manifest, log };
    const watch = new PullWatch(services, id, assignment, (error) => {
      why ??= error;
    });
    return {
      ...{ id, progress, why: () => why },
      [Symbol.asyncDispose]: async () => {
        await watch[Symbol.asyncDispose]();
        await progress[Symbol.asyncDispose]();
      },
    };
  }

  const layer = (index: number, state: 'unpacking' | 'done', bytes: number) => ({
    ...{ index, digest: digests[index] ?? digestOf(''), state, bytes, existed: false },
  });

  test('what makes no progress is given up, with the layer and what was done of it', async () => {
    await using work = await watched(400);
    work.progress.layer(layer(0, 'done', 10));
    work.progress.layer(layer(1, 'unpacking', 4));
    await until('the end', () => work.why());
    assert.equal(work.why()?.code, 'TIMEOUT');
    assert.match(work.why()?.message ?? '', /Layer 2 of 2 \(sha256:.*with 4 bytes of it unpacked/);
  });

  test('bytes that are unpacked, or come into the store, are progress', async () => {
    const bound = 2_000;
    await using work = await watched(bound);
    for (let bytes = 1; bytes <= 4; bytes++) {
      work.progress.layer(layer(0, 'unpacking', bytes));
      await sleep(bound / 5);
    }
    for (let bytes = 1; bytes <= 6; bytes++) {
      await records.transfers.moved(digests[1] ?? digestOf(''), bytes);
      await sleep(bound / 5);
    }
    assert.equal(work.why(), undefined);
    await until('the end', () => work.why());
  });

  test('what its pull wants no more is stopped', async () => {
    await using work = await watched(400);
    await records.cancel(work.id);
    await until('the end', () => work.why());
    assert.equal(work.why(), unwanted);
  });
});
