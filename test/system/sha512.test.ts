import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openStore } from '../../shared/content/open.ts';
import { mediaTypes } from '../../shared/image/descriptor.ts';
import { digestOf } from '../../shared/image/digest.ts';
import { hostPlatform } from '../../shared/image/platform.ts';
import { startFleet } from '../support/fleet.ts';
import { startHostileRegistry } from '../support/hostile-registry.ts';
import { randomLayer } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';

const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';

async function makeImage() {
  const tar = await randomLayer(300_000);
  const { os, architecture } = hostPlatform();
  const rootfs = { type: 'layers', diff_ids: [digestOf(tar)] };
  return {
    layer: gzipSync(tar),
    config: Buffer.from(JSON.stringify({ os, architecture, config: {}, rootfs })),
  };
}

describe('31. sha512', () => {
  test('layer and configuration, from docker-registry to a node', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
    await using registry = await startRegistry();
    const image = await makeImage();
    const layer = await registry.putBlob('a/b', image.layer, layerType, 'sha512');
    const config = await registry.putBlob('a/b', image.config, mediaTypes.ociConfig, 'sha512');
    await registry.putManifest('a/b', 'v1', {
      ...{ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] },
    });
    await using fleet = await startFleet();
    await Promise.all([fleet.startWorker('w1'), fleet.startAgent('n1')]);
    const reference = `${registry.host}/a/b:v1`;
    const status = await fleet.ended(await fleet.pull({ reference, nodes: ['n1'] }));
    assert.equal(status.state, 'ready', JSON.stringify(status.error ?? status.nodes));
    await using store = await openStore(fleet.config.store);
    for (const { digest, size } of [layer, config]) {
      assert.match(digest, /^sha512:/);
      assert.equal((await store.content.info(digest))?.size, size);
    }
  });

  test('diffIDs, beside those in sha256: verified on the node, and a wrong one is refused', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
    await using registry = await startRegistry();
    const tars = await Promise.all(['a', 'b'].map((name) => randomLayer(100_000, name)));
    const [lower = Buffer.alloc(0), upper = Buffer.alloc(0)] = tars;
    const layers = tars.map((tar) => gzipSync(tar));
    const push = async (tag: string, ...diff_ids: string[]) => {
      const { os, architecture } = hostPlatform();
      const config = { os, architecture, config: {}, rootfs: { type: 'layers', diff_ids } };
      await registry.push('diff', tag, { layers, config });
      return `${registry.host}/diff:${tag}`;
    };
    const right = await push('right', digestOf(lower, 'sha512'), digestOf(upper));
    const wrong = await push('wrong', digestOf(lower), digestOf(lower, 'sha512'));
    await using fleet = await startFleet();
    await Promise.all([fleet.startWorker('w1'), fleet.startAgent('n1')]);
    const pull = async (reference: string) =>
      await fleet.ended(await fleet.pull({ reference, nodes: ['n1'] }));
    const status = await pull(right);
    assert.equal(status.state, 'ready', JSON.stringify(status.error ?? status.nodes));
    const refused = await pull(wrong);
    assert.equal(refused.state, 'failed');
    const [node] = refused.nodes;
    assert.equal(node?.error?.code, 'DIFFID_MISMATCH', JSON.stringify(node));
    assert.match(node?.error?.message ?? '', /^Layer 2 of 2 .*diffID sha512:.* found sha512:/);
  });

  test('the manifest too, pinned by the reference; other bytes are refused', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    await using registry = await startHostileRegistry();
    const image = await makeImage();
    const describe512 = (bytes: Buffer, mediaType: string) => ({
      ...{ mediaType, digest: digestOf(bytes, 'sha512'), size: bytes.length },
    });
    const layer = describe512(image.layer, layerType);
    const config = describe512(image.config, mediaTypes.ociConfig);
    const mediaType = mediaTypes.ociManifest;
    const manifest = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [layer] }),
    );
    const digest = digestOf(manifest, 'sha512');
    registry.serve(`/v2/a/manifests/${digest}`, manifest, { 'content-type': mediaType });
    registry.serve(`/v2/a/blobs/${config.digest}`, image.config);
    const flipped = Buffer.from(image.layer);
    flipped.writeUInt8(flipped.readUInt8(100) ^ 1, 100);
    registry.serve(`/v2/a/blobs/${layer.digest}`, flipped);
    await using fleet = await startFleet();
    await fleet.startWorker('w1');
    const pull = async () =>
      await fleet.ended(await fleet.pull({ reference: `${registry.host}/a@${digest}`, nodes: [] }));
    const refused = await pull();
    assert.equal(refused.error?.code, 'DIGEST_MISMATCH');
    await using store = await openStore(fleet.config.store);
    assert.equal(await store.content.info(layer.digest), undefined);
    registry.serve(`/v2/a/blobs/${layer.digest}`, image.layer);
    const status = await pull();
    assert.equal(status.state, 'ready', JSON.stringify(status.error));
    assert.equal(status.target?.digest, digest);
    assert.equal((await store.content.info(layer.digest))?.size, layer.size);
  });
});
