import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { buildSample } from '../../../deploy/sample/image.ts';
import { pushImage } from '../../../deploy/sample/push.ts';
import { startRegistry } from '../../support/registry.ts';
import { requireRoot, requireTool } from '../../support/requirements.ts';
import { describeTree } from '../../support/tree.ts';
import { umociTools, withUmociTree } from '../../support/umoci.ts';

describe('the sample image', () => {
  test('is the same each time, and its third layer deletes and replaces', async (t) => {
    if (!requireRoot(t)) return;
    if (!requireTool(t, 'redis-server', 'ldd', 'docker-registry', ...umociTools)) return;
    const folder = await mkdtemp(path.join(tmpdir(), 'dray-sample-test-'));
    t.after(() => rm(folder, { recursive: true }));
    const image = await buildSample({ folder });
    const again = await buildSample({ folder });
    const digests = image.layers.map(({ descriptor }) => descriptor.digest);
    assert.equal(digests.length, 3);
    assert.deepEqual(
      again.layers.map(({ descriptor }) => descriptor.digest),
      digests,
    );
    await using registry = await startRegistry();
    const target = { host: registry.host, repository: 'library/redis', tag: 'latest' };
    const digest = await pushImage(target, again.layers, again.config);
    assert.match(digest, /^sha256:/);
    const tree = await withUmociTree(`${registry.host}/library/redis:latest`, describeTree);
    for (const there of ['usr/bin/redis-server', 'etc/redis/redis.conf', 'var/log/base/new.log']) {
      assert.ok(tree.has(there), there);
    }
    for (const gone of [
      'usr/bin/redis-benchmark',
      'etc/issue',
      'var/cache/base',
      'var/log/base/old.log',
    ]) {
      assert.ok(!tree.has(gone), gone);
    }
    assert.equal(tree.get('etc/motd')?.size, 'Of the third layer.\n'.length);
    const { type, uid, gid } = tree.get('data') ?? {};
    assert.deepEqual({ type, uid, gid }, { type: 'directory', uid: 999, gid: 999 });
  });
});
