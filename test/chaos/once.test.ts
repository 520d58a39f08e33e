import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { assertNoMounts, assertNoUploads, assertTrees } from './support/aftermath.ts';
import {
  bucketFleetTools,
  downloadsOf,
  pushKnown,
  startBucketFleet,
  writesOf,
} from './support/bucket-fleet.ts';
import { dose } from './support/dose.ts';

const nodes = Array.from({ length: dose(6, 50) }, (_, i) => `n${i}`);
/** Agents that start at the same time. */
const startedAtOnce = 5;
/** Small ones, ones in parts, and one that comes over several connections. */
const layers = [200_000, 3_000_000, 12_000_000, dose(20_000_000, 80_000_000)];

test(`${nodes.length} nodes pull one image at once with 4 workers: each blob is sent once and written once`, {
  timeout: 600_000,
}, async (t) => {
  if (!requireRoot(t) || !requireTool(t, ...bucketFleetTools)) return;
  await using chaos = await startBucketFleet();
  const { registry, gateway, fleet, s3, bucket } = chaos;
  const image = await pushKnown(registry, 'app', layers);
  await Promise.all(['w1', 'w2', 'w3', 'w4'].map((name) => fleet.startWorker(name)));
  for (let i = 0; i < nodes.length; i += startedAtOnce) {
    await Promise.all(nodes.slice(i, i + startedAtOnce).map((node) => fleet.startAgent(node)));
  }
  // Each node asks for itself, all at the same time.
  const { reference } = image;
  const ids = await Promise.all(nodes.map((node) => fleet.pull({ reference, nodes: [node] })));
  const ended = await Promise.all(ids.map((id) => fleet.ended(id, 300_000)));
  for (const { state, error, nodes } of ended) {
    assert.equal(state, 'ready', JSON.stringify(error ?? nodes));
  }
  for (const { digest, size } of [...image.layers, image.config]) {
    const { bytes, requests } = await downloadsOf(registry, digest);
    assert.equal(bytes, size, `${digest} was sent in ${requests} requests`);
    assert.equal(await writesOf(gateway, digest), 1, `writes of ${digest}`);
  }
  assert.equal(await writesOf(gateway, image.digest), 1, 'writes of the manifest');
  for (const node of nodes) await assertTrees(fleet.nodeRoot(node), image.files);
  await assertNoMounts(fleet.folder);
  await assertNoUploads(s3, bucket);
});
