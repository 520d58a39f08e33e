import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Namespace, namespaceTools, openNamespaces } from '../support/namespaces.ts';
import { freePort } from '../support/ports.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { startSlowLink } from '../support/slow-link.ts';
import { assertNoUploads, assertTrees } from './support/aftermath.ts';
import {
  bucketFleetTools,
  downloadsOf,
  partSize,
  partsOf,
  pushKnown,
  startBucketFleet,
  writesOf,
} from './support/bucket-fleet.ts';
import { dose, isFull } from './support/dose.ts';

/** Milliseconds: longer than a lock. */
const cutFor = dose(13_000, 40_000);
const healsWithin = 60_000;
/** Bytes that a worker keeps of a blob before S3 has them: the part that fills, and two that are on their way. */
const unstoredAtMost = 3 * partSize;
const layers = [1_500_000, 6_000_000, 9_000_000, 20_000_000];

const pairs = [
  { who: 'worker', name: 'w1', from: 'Redis' },
  { who: 'worker', name: 'w3', from: 'S3' },
  { who: 'agent', name: 'n1', from: 'Redis' },
  { who: 'agent', name: 'n3', from: 'S3' },
] as const;
/** At the same time, or one after the other. */
const rounds = dose<readonly (readonly (typeof pairs)[number][])[]>(
  [pairs],
  pairs.map((pair) => [pair]),
);

test(`partitions of ${cutFor / 1000} s heal within a minute, and nothing happens twice`, {
  timeout: 900_000,
}, async (t) => {
  if (!requireRoot(t) || !requireTool(t, ...bucketFleetTools, ...namespaceTools)) return;
  await using namespaces = await openNamespaces();
  const { address } = namespaces;
  const redisPort = await freePort();
  const redisArgs = ['--port', `${redisPort}`, '--bind', address, '--protected-mode', 'no'];
  await using chaos = await startBucketFleet({ address, redisArgs });
  const { registry, gateway, fleet, s3, bucket } = chaos;
  await using link = await startSlowLink(registry.host, { bytesPerSecond: 1_500_000, address });
  const env = { REDIS_URL: `redis://${address}:${redisPort}`, DRAY_PLAIN_HTTP: link.host };
  const ports = { Redis: redisPort, S3: Number(new URL(gateway.endpoint).port) };

  const inside = new Map<string, Namespace>();
  for (const { name } of pairs) inside.set(name, await namespaces.add(name));
  await Promise.all([
    ...['w1', 'w3'].map((name) => fleet.startWorker(name, env, inside.get(name)?.path)),
    ...['n1', 'n3'].map((name) => fleet.startAgent(name, env, inside.get(name)?.path)),
    fleet.startAgent('n2', env),
  ]);
  let healthy = await fleet.startWorker('w2', env);
  const nodes = ['n1', 'n2', 'n3'];
  const files = new Map<string, Buffer>();
  for (const [number, round] of rounds.entries()) {
    const what = round.map(({ who, from }) => `${who} from ${from}`).join(', ');
    const image = await pushKnown(registry, `app-${number}`, layers);
    for (const [name, content] of image.files) files.set(name, content);
    const id = await fleet.pull({ reference: `${link.host}/app-${number}:v1`, nodes });
    for await (const status of fleet.pulls.watch(id)) {
      assert.notEqual(status.state, 'ready', 'the pull ended before the cut');
      if (status.blobs.some(({ kind, bytes }) => kind === 'layer' && bytes > 1_000_000)) break;
    }
    const parts = await Promise.all(image.layers.map(({ digest }) => partsOf(gateway, digest)));
    for (const { name, from } of round) await inside.get(name)?.cut(ports[from]);
    await sleep(cutFor);
    for (const { name, from } of round) await inside.get(name)?.heal(ports[from]);
    const healed = performance.now();
    const left = () => Math.ceil(healsWithin - (performance.now() - healed));
    const { state, error, nodes: ended } = await fleet.ended(id, left());
    assert.equal(state, 'ready', `${what}: ${JSON.stringify(error ?? ended)}`);

    // Those who were cut off do all the work again, alone.
    await healthy.kill();
    const alone = await pushKnown(registry, `alone-${number}`, [10_000]);
    for (const [name, content] of alone.files) files.set(name, content);
    const last = await fleet.pull({ reference: `${link.host}/alone-${number}:v1`, nodes });
    assert.equal((await fleet.ended(last, left())).state, 'ready', what);
    t.diagnostic(`${what}: healed after ${((performance.now() - healed) / 1000).toFixed(1)} s`);
    healthy = await fleet.startWorker('w2', env);

    const isTakenOver = round.some(({ who, from }) => who === 'worker' && from === 'Redis');
    for (const [at, { digest, size }] of image.layers.entries()) {
      assert.equal(await writesOf(gateway, digest), 1, `${what}: writes of ${digest}`);
      const { bytes, requests } = await downloadsOf(registry, digest);
      const sent = `${what}: ${bytes} bytes of ${digest} (${size}) were sent in ${requests} requests`;
      // What S3 had acknowledged is not sent again, whoever goes on with the blob.
      const before = [...new Set(parts[at])];
      const stored = before.reduce((sum, from) => sum + Math.min(partSize, size - from), 0);
      assert.ok(bytes <= size + Math.min(size - stored, unstoredAtMost), sent);
      const after = await partsOf(gateway, digest);
      for (const from of before) assert.equal(after.filter((each) => each === from).length, 1);
      // A worker that keeps its locks keeps its bytes, too: it is out of S3's reach for less than its patience.
      if (isFull && !isTakenOver) {
        assert.deepEqual([bytes, requests], [size, 1], sent);
        assert.equal(new Set(after).size, after.length, `${what}: parts ${after} of ${digest}`);
      }
    }
  }
  for (const node of nodes) await assertTrees(fleet.nodeRoot(node), files);
  await assertNoUploads(s3, bucket);
});
