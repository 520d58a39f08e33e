import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startFleet } from '../support/fleet.ts';
import { pushImage, randomLayer } from '../support/push.ts';
import { startRedisCluster, startSentinels } from '../support/redis-topologies.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { startSlowLink } from '../support/slow-link.ts';

const topologies = [
  { name: 'Sentinels', start: startSentinels },
  { name: 'a Cluster', start: startRedisCluster },
];

describe('a fleet on several Redis servers', { concurrency: false }, () => {
  for (const { name, start } of topologies) {
    test(`${name}: the server that has the queue dies in the middle of a pull, which ends ready`, {
      timeout: 120_000,
    }, async (t) => {
      if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server', 'redis-cli')) {
        return;
      }
      await using group = await start();
      await using registry = await startRegistry();
      await using link = await startSlowLink(registry.host, { bytesPerSecond: 1_000_000 });
      await using fleet = await startFleet({ env: { REDIS_URL: group.url } });
      await Promise.all([
        ...[fleet.startWorker('w1'), fleet.startWorker('w2')],
        ...[fleet.startAgent('n1'), fleet.startAgent('n2')],
      ]);
      const tars = await Promise.all([1, 2].map((i) => randomLayer(3_000_000, `file-${i}`)));
      const options = { compression: 'none' } as const;
      const image = await pushImage(registry.host, 'app', 'v1', tars, options);
      const reference = `${link.host}/app:v1`;
      const id = await fleet.pull({ reference, nodes: ['n1', 'n2'] });
      for await (const status of fleet.pulls.watch(id)) {
        assert.notEqual(status.state, 'ready', 'the pull ended before the kill');
        if (status.blobs.some((blob) => blob.kind === 'layer' && blob.bytes > 500_000)) break;
      }
      await group.killPrimary();
      const status = await fleet.ended(id);
      assert.equal(status.state, 'ready', JSON.stringify(status.error ?? status.nodes));

      const log = await registry.accessLog();
      for (const { digest } of image.layers) {
        const whole = log.filter(
          ({ path, status, bytes }) =>
            path.includes(`/blobs/${digest}`) && status === 200 && bytes > 2_999_999,
        );
        assert.ok(whole.length <= 1, `${digest} came ${whole.length} times`);
      }
      const again = await fleet.ended(await fleet.pull({ reference, nodes: ['n1', 'n2'] }));
      assert.equal(again.state, 'ready');
      const later = (await registry.accessLog()).slice(log.length);
      assert.deepEqual(
        later.filter(({ path }) => path.includes('/blobs/')),
        [],
      );
    });
  }
});
