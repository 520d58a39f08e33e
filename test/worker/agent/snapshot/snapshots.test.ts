import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ChainID } from '../../../../shared/image/digest.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { commitStack, diffIDOf, openRoot, stackOf, temporaryFolder } from './agent-root.ts';

const chainIDOf = (name: string) => diffIDOf(name) as string as ChainID;
const sizes = { bytes: 0, entries: 0 };

describe('committed snapshots', () => {
  test('are seen once committed, and only upon a committed parent', async () => {
    await using root = await temporaryFolder();
    using agent = await openRoot(root.path);
    const { snapshots } = agent;
    const [a, b] = stackOf(['a', 'b']);
    assert.ok(a !== undefined && b !== undefined);

    await using upper = await snapshots.stage(b.chainID);
    await assert.rejects(upper.commit({ parent: a.chainID, diffID: b.diffID, ...sizes }), {
      code: 'NOT_FOUND',
    });
    await using lower = await snapshots.stage(a.chainID);
    assert.equal((await stat(lower.directory)).mode & 0o7777, 0o755);
    assert.equal(snapshots.committed(a.chainID), undefined);
    assert.equal(await lower.commit({ diffID: a.diffID, bytes: 7, entries: 1 }), 'committed');

    let below: readonly string[] = [];
    const rebase = async (lowerDirs: readonly string[]) => {
      below = lowerDirs;
    };
    const answer = await upper.commit({
      parent: a.chainID,
      diffID: b.diffID,
      bytes: 9,
      entries: 2,
      rebase,
    });
    assert.equal(answer, 'committed');
    assert.deepEqual(below, [lower.directory]);
    assert.deepEqual(snapshots.lowerDirectories(b.chainID), [upper.directory, lower.directory]);
    const found = snapshots.committed(b.chainID);
    assert.equal(found?.parent, a.chainID);
    assert.equal(found?.diffID, b.diffID);
    assert.deepEqual(await snapshots.usage(b.chainID), { bytes: 9, entries: 2 });
    assert.deepEqual(
      snapshots
        .list()
        .map(({ name }) => name)
        .sort(),
      [a.chainID, b.chainID].sort(),
    );
    assert.equal((await stat(root.path)).mode & 0o777, 0o700);
  });

  test('committing what is there is success, and leaves no folder; so do disposal and a failed rebase', async () => {
    await using root = await temporaryFolder();
    using agent = await openRoot(root.path);
    const { snapshots } = agent;
    const folders = () => readdir(join(root.path, 'snapshots'));
    const diffID = diffIDOf('a');
    const chainID = chainIDOf('a');
    {
      await using first = await snapshots.stage(chainID);
      await using second = await snapshots.stage(chainID);
      await using third = await snapshots.stage(chainID);
      await using _unfinished = await snapshots.stage(chainID);
      await writeFile(Buffer.from(`${third.directory}/not utf8 \xff\xfe`, 'latin1'), '');
      const slow = third.commit({
        diffID,
        ...sizes,
        rebase: () => second.commit({ diffID, ...sizes }).then(),
      });
      assert.equal(await slow, 'exists');
      assert.equal(await first.commit({ diffID, ...sizes }), 'exists');
      assert.equal((await folders()).length, 2);
    }
    assert.equal((await folders()).length, 1);
    const failing = async () => {
      await using staging = await snapshots.stage(chainIDOf('b'));
      const rebase = () => Promise.reject(new Error('rebase failed'));
      await staging.commit({ diffID: diffIDOf('b'), ...sizes, rebase });
    };
    await assert.rejects(failing, /rebase failed/);
    assert.equal(snapshots.committed(chainIDOf('b')), undefined);
    assert.equal((await folders()).length, 1);
  });

  test('outlive the process', async () => {
    await using root = await temporaryFolder();
    let before: unknown;
    {
      using agent = await openRoot(root.path);
      await commitStack(agent.snapshots, ['a', 'b']);
      before = agent.snapshots.list();
    }
    using agent = await openRoot(root.path);
    assert.deepEqual(agent.snapshots.list(), before);
    await commitStack(agent.snapshots, ['a', 'b', 'c']);
    assert.deepEqual(
      agent.snapshots.list().map(({ name }) => name),
      stackOf(['a', 'b', 'c']).map(({ chainID }) => chainID),
    );
  });

  test('are not removed while something stands on them, uses them, or is mounted', async () => {
    await using root = await temporaryFolder();
    using agent = await openRoot(root.path);
    const { snapshots } = agent;
    const [lower, upper] = await commitStack(snapshots, ['a', 'b']);
    assert.ok(lower !== undefined && upper !== undefined);
    await snapshots.prepare('box', upper);
    await assert.rejects(snapshots.remove(lower), { code: 'CONFLICT', message: new RegExp(upper) });
    await assert.rejects(snapshots.remove(upper), { code: 'CONFLICT', message: /box/ });
    assert.equal(await snapshots.remove('box'), true);
    assert.equal(await snapshots.remove('box'), false);
    {
      using _hold = snapshots.hold(upper);
      await assert.rejects(snapshots.remove(upper), { code: 'CONFLICT' });
    }
    assert.equal(await snapshots.remove(upper), true);
    assert.equal(await snapshots.remove(lower), true);
    assert.deepEqual(await readdir(join(root.path, 'snapshots')), []);
  });
});

describe('active snapshots and views', () => {
  test('an active snapshot upon layers is an overlay whose changes stay in it', async (t) => {
    if (!requireRoot(t)) return;
    await using root = await temporaryFolder();
    using agent = await openRoot(root.path);
    const { snapshots } = agent;
    const top = (await commitStack(snapshots, ['a', 'b', 'c'])).at(-1) as ChainID;
    const [nearest] = snapshots.lowerDirectories(top);
    await chmod(nearest ?? '', 0o1711);
    await chown(nearest ?? '', 12, 34);
    await snapshots.prepare('box', top, { labels: { for: 'test' } });
    await assert.rejects(snapshots.prepare('box', top), { code: 'CONFLICT' });
    await assert.rejects(snapshots.prepare('sha256:x', top), { code: 'USAGE' });
    await assert.rejects(snapshots.prepare('box2', chainIDOf('none')), { code: 'NOT_FOUND' });
    assert.deepEqual(snapshots.get('box')?.labels, { for: 'test' });

    const target = join(root.path, 'bundle', 'rootfs');
    await using cleanUp = new AsyncDisposableStack();
    cleanUp.defer(() => snapshots.unmount(target));
    await snapshots.mount('box', target);
    await snapshots.mount('box', target);
    assert.deepEqual((await readdir(target)).sort(), ['a', 'b', 'c', 'folder', 'top']);
    assert.equal(await readFile(join(target, 'top'), 'utf8'), 'c');
    const { mode, uid, gid } = await stat(target);
    assert.deepEqual([mode & 0o7777, uid, gid], [0o1711, 12, 34]);
    await writeFile(join(target, 'top'), 'changed');
    await rm(join(target, 'a'));
    assert.ok((await snapshots.usage('box')).entries >= 2);

    await snapshots.view('look', top);
    const other = join(root.path, 'look');
    cleanUp.defer(() => snapshots.unmount(other));
    await assert.rejects(snapshots.mount('look', target), { code: 'CONFLICT' });
    await snapshots.mount('look', other);
    assert.equal(await readFile(join(other, 'top'), 'utf8'), 'c');
    await assert.rejects(writeFile(join(other, 'top'), ''), { code: 'EROFS' });

    await assert.rejects(snapshots.remove('box'), { code: 'CONFLICT', message: /rootfs/ });
    await assert.rejects(snapshots.remove('look'), { code: 'CONFLICT', message: /look/ });
    await snapshots.unmount(target);
    await snapshots.unmount(target);
    await snapshots.unmount(other);
    assert.equal(await snapshots.remove('box'), true);
    assert.equal(await snapshots.remove('look'), true);
  });

  test('one folder is bound: no layers, or a view of one', async (t) => {
    if (!requireRoot(t)) return;
    await using root = await temporaryFolder();
    using agent = await openRoot(root.path);
    const { snapshots } = agent;
    const [only] = await commitStack(snapshots, ['a']);
    await snapshots.prepare('empty');
    await snapshots.view('look', only);
    assert.equal(snapshots.mounts('empty')[0]?.type, 'bind');
    const target = join(root.path, 'target');
    await using cleanUp = new AsyncDisposableStack();
    cleanUp.defer(() => snapshots.unmount(target));
    await snapshots.mount('empty', target);
    await writeFile(join(target, 'file'), 'written');
    await assert.rejects(snapshots.remove('empty'), { code: 'CONFLICT' });
    await snapshots.unmount(target);
    await snapshots.mount('look', target);
    assert.equal(await readFile(join(target, 'a'), 'utf8'), 'a');
    await assert.rejects(writeFile(join(target, 'a'), ''), { code: 'EROFS' });
    await snapshots.unmount(target);
    await snapshots.mount('empty', target);
    assert.equal(await readFile(join(target, 'file'), 'utf8'), 'written');
  });

  test('60 layers under a long root with odd characters, reached through a symlink', async (t) => {
    if (!requireRoot(t)) return;
    await using folder = await temporaryFolder();
    const real = join(folder.path, 'long '.padEnd(200, 'x'), 'a:b,c\\d'.padEnd(200, 'y'));
    await mkdir(real, { recursive: true });
    await symlink(real, join(folder.path, 'root'));
    const root = join(folder.path, 'root');
    using agent = await openRoot(root);
    const { snapshots } = agent;
    const names = Array.from({ length: 60 }, (_, index) => `layer-${index}`);
    const top = (await commitStack(snapshots, names)).at(-1) as ChainID;
    await snapshots.prepare('box', top);
    await snapshots.view('look', top);
    for (const key of ['box', 'look']) {
      const target = join(root, 'target');
      await using cleanUp = new AsyncDisposableStack();
      cleanUp.defer(() => snapshots.unmount(target));
      await snapshots.mount(key, target);
      assert.equal((await readdir(target)).length, 62);
      assert.equal(await readFile(join(target, 'top'), 'utf8'), 'layer-59');
      await assert.rejects(snapshots.remove(key), { code: 'CONFLICT' });
    }
  });

  test('what mounts() says can be given to mount(8)', async (t) => {
    if (!requireRoot(t)) return;
    await using root = await temporaryFolder();
    using agent = await openRoot(root.path);
    const { snapshots } = agent;
    const top = (await commitStack(snapshots, ['a', 'b'])).at(-1) as ChainID;
    await snapshots.prepare('box', top);
    const [mount] = snapshots.mounts('box');
    assert.ok(mount !== undefined);
    const target = join(root.path, 'by-hand');
    await mkdir(target);
    execFileSync('mount', ['-t', mount.type, '-o', mount.options.join(','), mount.source, target]);
    try {
      assert.equal(await readFile(join(target, 'top'), 'utf8'), 'b');
      await assert.rejects(snapshots.remove('box'), { code: 'CONFLICT', message: /by-hand/ });
    } finally {
      execFileSync('umount', [target]);
    }
  });
});
