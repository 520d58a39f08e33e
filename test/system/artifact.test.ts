import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mediaTypes } from '../../shared/image/descriptor.ts';
import { digestOf } from '../../shared/image/digest.ts';
import { startDray } from '../support/dray.ts';
import { pushBlob, pushManifest } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';

test('an artifact, whose config is no image, is fetched and listed, not unpacked or run; and that is said', async (t) => {
  if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
  await using registry = await startRegistry();
  await using fleet = await startDray();
  const { host } = registry;
  const empty = 'application/vnd.oci.empty.v1+json';
  const config = await pushBlob(host, 'chart', Buffer.from('{}'), empty);
  const content = Buffer.from('a chart');
  const layer = await pushBlob(host, 'chart', content, 'application/vnd.example.chart');
  const manifest = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] },
      artifactType: 'application/vnd.example',
    }),
  );
  await pushManifest(host, 'chart', 'v1', manifest, mediaTypes.ociManifest);
  const reference = `${host}/chart:v1`;

  const pulled = await fleet.dray('pull', '--progress', 'plain', reference);
  assert.equal(pulled.stdout, `${reference}@${digestOf(manifest)}\n`);
  assert.match(pulled.stderr, /nothing was unpacked: it is an artifact, not an image\n$/);
  const fetched = await fleet.dray('fetch', '--progress', 'plain', reference);
  assert.doesNotMatch(fetched.stderr, /unpacked/, 'nobody asked for that');

  const [listed] = JSON.parse((await fleet.dray('images', '-o', 'json')).stdout) as object[];
  assert.partialDeepStrictEqual(listed, { name: reference, digest: digestOf(manifest) });
  assert.equal((await fleet.dray('content', 'get', layer.digest)).stdout, 'a chart');
  assert.equal((await fleet.dray('snapshots', '-q')).stdout, '');

  for (const command of ['unpack', 'run']) {
    const refused = await fleet.tryDray(command, reference);
    assert.notEqual(refused.exitCode, 0);
    assert.match(refused.stderr, /^dray: error: \S+ is an artifact, not an image\n {2}hint: /);
  }
});
