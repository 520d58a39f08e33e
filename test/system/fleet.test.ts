import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startFleet } from '../support/fleet.ts';
import { pushImage, randomLayer } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';

describe('a fleet of two workers and two nodes', () => {
  test('pulls to both nodes at once, and the registry sends each blob once', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
    const registry = await startRegistry();
    t.after(() => registry.stop());
    await using fleet = await startFleet();
    await Promise.all([
      fleet.startWorker('w1'),
      fleet.startWorker('w2'),
      fleet.startAgent('n1'),
      fleet.startAgent('n2'),
    ]);
    const tars = await Promise.all([1, 2, 3].map((i) => randomLayer(3_000_000, `file-${i}`)));
    const image = await pushImage(registry.host, 'app', 'v1', tars);

    const [first, second, third] = await Promise.all([
      fleet.pull({ reference: image.reference, nodes: ['n1', 'n2'] }),
      fleet.pull({ reference: image.reference, nodes: ['n1'] }),
      fleet.pull({ reference: image.reference, nodes: ['n2'] }),
    ]);
    for (const id of [first, second, third]) {
      const status = await fleet.ended(id);
      assert.equal(status.state, 'ready', JSON.stringify(status.error ?? status.nodes));
      assert.equal(status.target?.digest, image.digest);
    }
    const log = await registry.accessLog();
    for (const { digest } of [...image.layers, image.config]) {
      const downloads = log.filter(
        ({ method, path, status }) =>
          method === 'GET' && path.includes(`/blobs/${digest}`) && status === 200,
      );
      assert.equal(downloads.length, 1, `downloads of ${digest}`);
    }

    const again = await fleet.ended(
      await fleet.pull({ reference: image.reference, nodes: ['n1', 'n2'] }),
    );
    assert.equal(again.state, 'ready');
    assert.ok(again.blobs.every((blob) => blob.existed));
    assert.ok(again.nodes.every((node) => node.layers.every((layer) => layer.existed)));
    const later = (await registry.accessLog()).slice(log.length);
    assert.deepEqual(
      later.filter(({ path }) => path.includes('/blobs/')),
      [],
      'the second pull asked for a blob',
    );
  });

  test('a node that never registered is refused with the names of those that did', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'redis-server')) return;
    await using fleet = await startFleet();
    await assert.rejects(
      fleet.pull({ reference: 'localhost:1/a:b', nodes: ['nowhere'] }),
      /No node "nowhere"/,
    );
  });
});
