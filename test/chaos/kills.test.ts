import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DrayageClient } from '../../producer/client/client.ts';
import { freePort } from '../support/ports.ts';
import { startApi, type TestProgram } from '../support/programs.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { startSlowLink } from '../support/slow-link.ts';
import { assertNoMounts, assertNoUploads, assertTrees } from './support/aftermath.ts';
import { bucketFleetTools, pushKnown, startBucketFleet } from './support/bucket-fleet.ts';
import { dose } from './support/dose.ts';

const pulls = dose(16, 100);
const kills = dose(8, 60);
const images = dose(5, 20);
const nodes = dose(['n1', 'n2'], ['n1', 'n2', 'n3', 'n4']);
const workers = ['w1', 'w2', 'w3'];
/** Milliseconds between two kills. */
const pause = { least: 200, most: 1_200 };
/** So that the kills hit what is under way: the last transfers are let go once all kills have been. */
const bytesPerSecond = dose(600_000, 400_000);

test(`kill -9 of workers, agents and the API, ${kills} times during ${pulls} pulls: none is lost or stuck, and nothing is left over`, {
  timeout: 900_000,
}, async (t) => {
  if (!requireRoot(t) || !requireTool(t, ...bucketFleetTools)) return;
  await using chaos = await startBucketFleet();
  const { registry, fleet, s3, bucket } = chaos;
  await using link = await startSlowLink(registry.host, { bytesPerSecond });
  const built = await Promise.all(
    Array.from({ length: images }, (_, i) =>
      pushKnown(registry, `app-${i}`, [100_000, 700_000, i % 4 === 0 ? 18_000_000 : 300_000]),
    ),
  );
  const listen = `127.0.0.1:${await freePort()}`;
  const api = () =>
    startApi({
      state: path.join(fleet.folder, 'api'),
      env: { ...fleet.env, DRAY_API_LISTEN: listen },
    });
  const start = new Map<string, () => Promise<TestProgram>>([
    ['api', api],
    ...workers.map((name) => [name, () => fleet.startWorker(name)] as const),
    ...nodes.map((name) => [name, () => fleet.startAgent(name)] as const),
  ]);
  const running = new Map<string, TestProgram>();
  t.after(() => running.get('api')?.kill());
  for (const [name, begin] of start) running.set(name, await begin());

  const client = new DrayageClient({ url: `http://${listen}` });
  const ids = new Set<string>();
  const asking = (async () => {
    for (let i = 0; i < pulls; i++) {
      const [repository, tag] = [`app-${i % images}`, 'v1'];
      const request = { reference: `${link.host}/${repository}:${tag}`, nodes };
      ids.add((await askUntilAccepted(client, request, `pull-${i}`)).id);
      await sleep(pause.most / 4);
    }
  })();
  const struck: string[] = [];
  for (let i = 0; i < kills; i++) {
    await sleep(pause.least + Math.random() * (pause.most - pause.least));
    const names = [...start.keys()];
    const name = names[Math.floor(Math.random() * names.length)] ?? '';
    struck.push(name);
    await running.get(name)?.kill();
    const program = await start.get(name)?.();
    if (program !== undefined) running.set(name, program);
  }
  link.setRate(1e9);
  await asking;
  t.diagnostic(`killed: ${struck.join(' ')}`);

  assert.equal(ids.size, pulls, 'each request is one pull');
  for (const id of ids) {
    const { state, error, nodes } = await fleet.ended(id, 180_000);
    assert.equal(state, 'ready', `pull ${id}: ${JSON.stringify(error ?? nodes)}`);
  }
  const files = new Map(built.flatMap((image) => [...image.files]));
  for (const node of nodes) await assertTrees(fleet.nodeRoot(node), files);
  await assertNoMounts(fleet.folder);
  await assertNoUploads(s3, bucket);

  const before = (await registry.accessLog()).length;
  for (let i = 0; i < images; i++) {
    const id = await fleet.pull({ reference: `${link.host}/app-${i}:v1`, nodes });
    assert.equal((await fleet.ended(id)).state, 'ready');
  }
  const later = (await registry.accessLog()).slice(before);
  assert.deepEqual(
    later.filter((entry) => entry.path.includes('/blobs/')),
    [],
    'the second run asked for a blob',
  );
});

/** A caller whose API dies asks again, with the same key. */
async function askUntilAccepted(
  client: DrayageClient,
  request: { reference: string; nodes: string[] },
  idempotencyKey: string,
): Promise<{ id: string }> {
  for (let tries = 0; ; tries++) {
    try {
      return await client.pull(request, { idempotencyKey });
    } catch (error) {
      if (tries === 50) throw error;
      await sleep(200);
    }
  }
}
