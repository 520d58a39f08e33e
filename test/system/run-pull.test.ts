import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { mediaTypes } from '../../shared/image/descriptor.ts';
import { digestOf } from '../../shared/image/digest.ts';
import { hostPlatform } from '../../shared/image/platform.ts';
import { startDray } from '../support/dray.ts';
import { pushImage, pushManifest, tarOf } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { pushShellImage } from '../support/shell-image.ts';

test('dray run --pull: what a tag is by missing, always and if-stale, and when the registry is gone', async (t) => {
  if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server', 'runc', 'busybox')) {
    return;
  }
  await using registry = await startRegistry();
  await using fleet = await startDray();
  const push = (words: string) => pushShellImage(registry.host, 'words', { Cmd: ['echo', words] });
  const { reference } = await push('first');
  const said = async (...flags: string[]) =>
    (await fleet.dray('run', '--rm', '--net', 'none', ...flags, reference)).stdout.trim();

  assert.equal(await said(), 'first', 'it is pulled when it is missing');
  await push('second');
  assert.equal(await said(), 'first', 'missing is the default');
  assert.equal(await said('--pull', 'if-stale=1h'), 'first');
  await sleep(1_000);
  assert.equal(await said('--pull', 'if-stale=1s'), 'second');
  await push('third');
  assert.equal(await said('--pull', 'always'), 'third');
  const quiet = ['-q', '--pull', 'always', '--net', 'none'];
  const { stdout, stderr } = await fleet.dray('run', '--rm', ...quiet, reference);
  assert.deepEqual([stdout, stderr], ['third\n', '']);

  await registry.stop();
  assert.equal(await said('--pull', 'missing'), 'third');
  assert.equal(await said('--pull', 'if-stale=1h'), 'third');
  const begun = performance.now();
  const failed = await fleet.tryDray('run', '--rm', '--pull', 'always', reference);
  assert.equal(failed.exitCode, 125, failed.stderr);
  assert.match(failed.stderr, /ECONNREFUSED/);
  assert.match(failed.stderr, /hint: .*--pull missing/);
  t.diagnostic(
    `a registry that is gone was said after ${Math.round(performance.now() - begun)} ms`,
  );
  const wrong = await fleet.tryDray('run', '--pull', 'sometimes', reference);
  assert.notEqual(wrong.exitCode, 0);
  assert.match(wrong.stderr, /always, missing/);
});

test('dray pull --all-platforms: every platform is in the store, and the node has its own', async (t) => {
  if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
  await using registry = await startRegistry();
  await using fleet = await startDray();
  const own = hostPlatform();
  const other = { os: 'linux', architecture: own.architecture === 'arm64' ? 'amd64' : 'arm64' };
  const manifests = [];
  for (const platform of [other, own]) {
    const tar = await tarOf([{ name: platform.architecture }]);
    const { digest, manifest } = await pushImage(registry.host, 'both', platform.architecture, [
      tar,
    ]);
    manifests.push({ mediaType: mediaTypes.ociManifest, digest, size: manifest.length, platform });
  }
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }));
  await pushManifest(registry.host, 'both', 'latest', index, mediaTypes.ociIndex);
  const reference = `${registry.host}/both:latest`;
  const { stdout } = await fleet.dray('pull', '--all-platforms', reference);
  assert.ok(stdout.includes(digestOf(index)), stdout);
  const stored = (await fleet.dray('content', 'ls', '-q')).stdout;
  for (const { digest } of manifests) assert.ok(stored.includes(digest), `${digest} is missing`);
  const found = await fleet.withTree(reference, (root) =>
    readFile(path.join(root, own.architecture)),
  );
  assert.equal(found.length, 0);
});
