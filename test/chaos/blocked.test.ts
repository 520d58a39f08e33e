import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openStore } from '../../shared/content/open.ts';
import { digestOf } from '../../shared/image/digest.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { startSlowLink } from '../support/slow-link.ts';
import { assertNoUploads, assertTrees } from './support/aftermath.ts';
import { bucketFleetTools, pushKnown, startBucketFleet, writesOf } from './support/bucket-fleet.ts';
import { dose } from './support/dose.ts';

/** Milliseconds for which nothing of a program runs: longer than its locks, and than others need to see that. */
const blockedFor = dose(16_000, 40_000);
const layers = [3_000_000, 7_000_000, 20_000_000];

test(`a worker and an agent stand still for ${blockedFor / 1000} s and go on while others have their jobs: one right object, one right tree`, {
  timeout: 300_000,
}, async (t) => {
  if (!requireRoot(t) || !requireTool(t, ...bucketFleetTools)) return;
  await using chaos = await startBucketFleet();
  const { registry, gateway, fleet, s3, bucket } = chaos;
  await using link = await startSlowLink(registry.host, { bytesPerSecond: 800_000 });
  const image = await pushKnown(registry, 'app', layers);
  const blocked = await fleet.startWorker('w1');
  const agent = await fleet.startAgent('n1');
  await fleet.startAgent('n2');
  const nodes = ['n1', 'n2'];
  const id = await fleet.pull({ reference: `${link.host}/app:v1`, nodes });
  for await (const status of fleet.pulls.watch(id)) {
    assert.notEqual(status.state, 'ready', 'the pull ended before the programs were stopped');
    if (status.blobs.some(({ kind, bytes }) => kind === 'layer' && bytes > 1_500_000)) break;
  }
  for (const { pid } of [blocked, agent]) process.kill(pid, 'SIGSTOP');
  await fleet.startWorker('w2');
  await sleep(blockedFor);
  // The second worker is at it, or has done it.
  for (const { pid } of [blocked, agent]) process.kill(pid, 'SIGCONT');
  const { state, error, nodes: ended } = await fleet.ended(id, 120_000);
  assert.equal(state, 'ready', JSON.stringify(error ?? ended));
  // Whatever the first one still did.
  await sleep(2_000);

  Object.assign(process.env, gateway.storeEnv(bucket));
  await using store = await openStore(fleet.config.store);
  for (const { digest, size } of image.layers) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of store.content.read(digest)) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    assert.equal(bytes.length, size);
    assert.equal(digestOf(bytes), digest);
    assert.equal(await writesOf(gateway, digest), 1, `writes of ${digest}`);
  }
  for (const node of nodes) await assertTrees(fleet.nodeRoot(node), image.files);
  await assertNoUploads(s3, bucket);
  const again = await fleet.ended(await fleet.pull({ reference: `${link.host}/app:v1`, nodes }));
  assert.equal(again.state, 'ready');
});
