import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFleet } from '../support/fleet.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { startSlowLink } from '../support/slow-link.ts';
import { assertTrees } from './support/aftermath.ts';
import { downloadsOf, pushKnown } from './support/bucket-fleet.ts';
import { dose } from './support/dose.ts';

const restarts = dose(4, 20);
const images = 12;
/** Milliseconds that Redis is up between two restarts. */
const up = 1_500;

test(`Redis is restarted ${restarts} times under load, by kill -9 and in order: every pull that was accepted ends ready`, {
  timeout: 600_000,
}, async (t) => {
  if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
  await using registry = await startRegistry();
  await using link = await startSlowLink(registry.host, { bytesPerSecond: 300_000 });
  const built = await Promise.all(
    Array.from({ length: images }, (_, i) =>
      pushKnown(registry, `app-${i}`, [200_000, dose(900_000, 2_500_000)]),
    ),
  );
  // While the disk is slow to sync, `everysec` answers before it writes: a kill then takes with it what was accepted.
  await using fleet = await startFleet({ redisArgs: ['--appendfsync', 'always'] });
  await Promise.all([
    ...[fleet.startWorker('w1'), fleet.startWorker('w2')],
    ...[fleet.startAgent('n1'), fleet.startAgent('n2')],
  ]);
  let isStriking = true;
  const ids: string[] = [];
  const asking = (async () => {
    for (let i = 0; isStriking || ids.length < images; i++) {
      const reference = `${link.host}/app-${i % images}:v1`;
      // While Redis is away the caller is told so, and asks again.
      const id = await fleet.pull({ reference, nodes: ['n1', 'n2'] }).catch((error: unknown) => {
        assert.match(String(error), /Redis at .* can't be used/);
        return undefined;
      });
      if (id !== undefined) ids.push(id);
      await sleep(300);
    }
  })();
  for (let i = 0; i < restarts; i++) {
    await sleep(up);
    if (i % 2 === 0) await fleet.server.kill();
    await fleet.server.restart();
  }
  isStriking = false;
  link.setRate(1e9);
  await asking;
  for (const id of ids) {
    const { state, error, nodes } = await fleet.ended(id, 120_000);
    assert.equal(state, 'ready', `pull ${id}: ${JSON.stringify(error ?? nodes)}`);
  }
  t.diagnostic(`${ids.length} pulls were accepted`);
  const files = new Map(built.flatMap((image) => [...image.files]));
  for (const node of ['n1', 'n2']) await assertTrees(fleet.nodeRoot(node), files);
  for (const { layers } of built) {
    for (const { digest, size } of layers) {
      const { bytes } = await downloadsOf(registry, digest);
      // A worker that lost its lock has its part of the file already; the next one goes on behind it.
      assert.ok(bytes < 2 * size, `${digest} of ${size} bytes: ${bytes} were sent`);
    }
  }
});
