import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ChainID } from '../../../../shared/image/digest.ts';
import { readMountTable } from '../../../../worker/agent/snapshot/mount-table.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { commitStack, openRoot, stackOf, temporaryFolder } from './agent-root.ts';

const none = { isClaimed: () => false };

/** Runs the child until it has said `word` `times` times, then kills it `delay` ms later. */
async function killAt(root: string, word: string, times: number, delay = 0): Promise<void> {
  const script = fileURLToPath(new URL('./staging-child.ts', import.meta.url));
  const child = spawn(process.execPath, [script, root], { stdio: ['ignore', 'pipe', 'inherit'] });
  const gone = once(child, 'close');
  let said = 0;
  for await (const line of createInterface(child.stdout)) {
    if (line === word && ++said === times) {
      await sleep(delay);
      child.kill('SIGKILL');
    }
  }
  await gone;
  assert.equal(said >= times, true, `the child said ${word} ${said} times`);
}

describe('sweep', () => {
  test('after kill -9 at any point, a snapshot is whole or gone', async () => {
    await using root = await temporaryFolder();
    const points: [string, number, number?][] = [
      ['staged', 1],
      ['applying', 2],
      ['applied', 3],
      ['rebasing', 1],
      ['rebasing', 2, 1],
      ['rebasing', 1, 3],
      ['rebasing', 1, 6],
      ['rebasing', 3, 10],
      ['committed', 2],
    ];
    let committed = 0;
    for (const [word, times, delay] of points) {
      await killAt(root.path, word, times, delay);
      using agent = await openRoot(root.path);
      const { snapshots } = agent;
      const swept = await snapshots.sweep(none);
      assert.deepEqual(swept.snapshots, []);
      const list = snapshots.list();
      assert.deepEqual(
        list.map(({ name }) => name),
        stackOf(list.map((_, index) => `layer-${index}`)).map(({ chainID }) => chainID),
      );
      assert.ok(list.length >= committed, 'what was committed stays');
      committed = list.length;
      for (const { name, diffID } of list) {
        const [folder] = snapshots.lowerDirectories(name as ChainID);
        assert.equal((await readdir(folder ?? '')).length, 21);
        assert.equal(await readFile(join(folder ?? '', 'rebased'), 'utf8'), diffID);
      }
      assert.deepEqual(
        (await readdir(join(root.path, 'snapshots'))).map(Number).sort((a, b) => a - b),
        list.map(({ id }) => id),
      );
    }
    assert.ok(committed > 3);
  });

  test('unmounts what no container claims, and only that', async (t) => {
    if (!requireRoot(t)) return;
    await using root = await temporaryFolder();
    const target = join(root.path, 'rootfs');
    const isMounted = () => readMountTable().some((mount) => mount.target === target);
    await killAt(root.path, 'mounted', 1);
    using agent = await openRoot(root.path);
    const { snapshots } = agent;
    try {
      const kept = await snapshots.sweep({ isClaimed: (path) => path === target });
      assert.deepEqual(kept, { mounts: [], snapshots: [], folders: [] });
      assert.equal(isMounted(), true);
      await assert.rejects(snapshots.remove('box'), { code: 'CONFLICT' });
    } finally {
      assert.deepEqual((await snapshots.sweep(none)).mounts, [target]);
    }
    assert.equal(isMounted(), false);
    assert.equal(await snapshots.remove('box'), true);
  });

  test('forgets rows whose folder is missing with what stands on them, and keeps what is in use', async () => {
    await using root = await temporaryFolder();
    using agent = await openRoot(root.path);
    const { snapshots } = agent;
    const [a, b, c] = await commitStack(snapshots, ['a', 'b', 'c']);
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    await snapshots.prepare('box', c);
    const folder = join(root.path, 'snapshots');
    await rm(join(folder, String(snapshots.committed(b)?.id)), { recursive: true });
    await mkdir(join(folder, '4711', 'fs'), { recursive: true });
    await writeFile(join(folder, 'stray'), '');
    await using staging = await snapshots.stage(b);
    const report = await snapshots.sweep(none);
    assert.deepEqual(report.snapshots.sort(), [b, 'box', c].sort());
    assert.equal(report.folders.length, 4);
    assert.deepEqual(
      snapshots.list().map(({ name }) => name),
      [a],
    );
    assert.deepEqual(await readdir(staging.directory), []);
    assert.equal((await readdir(folder)).length, 2);
    assert.deepEqual(await snapshots.sweep(none), { mounts: [], snapshots: [], folders: [] });
  });
});
