import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { makeDisk, mountDisk } from '../../../support/disk.ts';
import { requireRoot, requireTool } from '../../../support/requirements.ts';
import { openRoot, stackOf, temporaryFolder } from './agent-root.ts';

const run = promisify(execFile);
const child = fileURLToPath(new URL('./commit-child.ts', import.meta.url));
const [layer] = stackOf(['layer']);
assert.ok(layer !== undefined);
const { chainID, diffID } = layer;

/** Runs the child under strace. @returns its system calls, in the order in which they began or ended, and whether it succeeded */
async function trace(root: string, ...options: string[]) {
  const log = `${root}/strace.log`;
  const calls = 'write,pwrite64,syncfs,fsync,fdatasync,mkdir,openat';
  const command = ['-f', '-y', '-e', `trace=${calls}`, ...options, '-o', log];
  const succeeded = await run('strace', [...command, process.execPath, child, root]).then(
    () => true,
    () => false,
  );
  return { lines: (await readFile(log, 'utf8')).split('\n'), succeeded };
}

describe('a commit', () => {
  test("flushes the layer's files before it writes the record, and the record before it returns", async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'strace')) return;
    await using root = await temporaryFolder();
    const { lines, succeeded } = await trace(root.path);
    assert.equal(succeeded, true);
    const at = (pattern: RegExp, from = 0) => {
      const found = lines.findIndex((line, index) => index >= from && pattern.test(line));
      assert.notEqual(found, -1, `the trace has ${pattern}`);
      return found;
    };
    const last = (pattern: RegExp) => lines.findLastIndex((line) => pattern.test(line));
    const staged = at(/ write\(.*"staged/);
    const written = last(/ p?write(64)?\(\d+<[^>]*\/fs\/(folder\/file|rebased)>/);
    const flushing = at(/ syncfs\(\d+<[^>]*\/snapshots\/\d+>/);
    // A call during which another thread is traced ends in a line of its own.
    const flushed = at(/syncfs(\(.*| resumed>.*)\) += 0/, flushing);
    const recorded = at(/ pwrite64\(\d+<[^>]*node\.db-wal>/, staged);
    const recordWritten = last(/ pwrite64\(\d+<[^>]*node\.db-wal>/);
    const durable = at(/f(data)?sync\(\d+<[^>]*node\.db-wal>/, recordWritten);
    const returned = at(/ write\(.*"committed/);
    const order = { staged, written, flushing, flushed, recorded, durable, returned };
    const places = Object.values(order);
    assert.ok(staged < written && recorded <= recordWritten, JSON.stringify(order));
    assert.deepEqual(
      places.toSorted((a, b) => a - b),
      places,
      JSON.stringify(order),
    );
  });

  test('that dies while it flushes has not happened, and leaves what a sweep removes', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'strace')) return;
    await using root = await temporaryFolder();
    const { succeeded } = await trace(root.path, '-e', 'inject=syncfs:signal=SIGKILL');
    assert.equal(succeeded, false);
    using agent = await openRoot(root.path);
    assert.deepEqual(agent.snapshots.list(), []);
    assert.equal((await readdir(join(root.path, 'snapshots'))).length, 1);
    await agent.snapshots.sweep({ isClaimed: () => false });
    assert.deepEqual(await readdir(join(root.path, 'snapshots')), []);
  });

  test('whose flush fails fails, and leaves nothing', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'strace')) return;
    await using root = await temporaryFolder();
    const { succeeded, lines } = await trace(root.path, '-e', 'inject=syncfs:error=EIO');
    assert.equal(succeeded, false);
    assert.ok(!lines.some((line) => /"committed/.test(line)));
    using agent = await openRoot(root.path);
    assert.deepEqual(agent.snapshots.list(), []);
    assert.deepEqual(await readdir(join(root.path, 'snapshots')), []);
  });
});

describe('after a crash of the machine', () => {
  test('a committed snapshot is whole, and an uncommitted one is gone', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'mkfs.ext4')) return;
    await using folder = await temporaryFolder();
    const disk = join(folder.path, 'disk');
    await makeDisk(disk, '64M');
    const content = Buffer.alloc(300_000, 'content');
    {
      await using mounted = await mountDisk(disk, join(folder.path, 'mounted'));
      using agent = await openRoot(mounted.path);
      await using staging = await agent.snapshots.stage(chainID);
      await mkdir(join(staging.directory, 'folder'));
      for (let i = 0; i < 20; i++) {
        await writeFile(join(staging.directory, 'folder', `${i}`), content);
      }
      await copyFile(disk, join(folder.path, 'crashed-before'));
      const rebase = () => writeFile(join(staging.directory, 'rebased'), content);
      await staging.commit({ diffID, bytes: content.length, entries: 22, rebase });
      await copyFile(disk, join(folder.path, 'crashed-after'));
    }
    {
      const place = join(folder.path, 'before');
      await using mounted = await mountDisk(join(folder.path, 'crashed-before'), place);
      using agent = await openRoot(mounted.path);
      await agent.snapshots.sweep({ isClaimed: () => false });
      assert.deepEqual(agent.snapshots.list(), []);
      assert.deepEqual(await readdir(join(mounted.path, 'snapshots')), []);
    }
    {
      const place = join(folder.path, 'after');
      await using mounted = await mountDisk(join(folder.path, 'crashed-after'), place);
      using agent = await openRoot(mounted.path);
      await agent.snapshots.sweep({ isClaimed: () => false });
      const [found] = agent.snapshots.lowerDirectories(chainID);
      assert.ok(found !== undefined);
      assert.equal((await readdir(join(found, 'folder'))).length, 20);
      for (const name of ['rebased', ...Array.from({ length: 20 }, (_, i) => `folder/${i}`)]) {
        assert.ok(content.equals(await readFile(join(found, name))), `${name} is whole`);
      }
    }
  });

  test('of layers that share a flush, those that were told committed are whole, and none stands without those below', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'mkfs.ext4')) return;
    await using folder = await temporaryFolder();
    const disk = join(folder.path, 'disk');
    await makeDisk(disk, '32M');
    const stack = stackOf(Array.from({ length: 8 }, (_, i) => `layer ${i}`));
    const content = Buffer.alloc(400_000, 'content');
    const crashes: { image: string; told: number }[] = [];
    {
      await using mounted = await mountDisk(disk, join(folder.path, 'mounted'));
      using agent = await openRoot(mounted.path);
      await using staged = new AsyncDisposableStack();
      let told = 0;
      const halfway = Promise.withResolvers<void>();
      let below = { folders: Promise.resolve<readonly string[]>([]), committed: Promise.resolve() };
      const commits: Promise<void>[] = [];
      for (const [at, { chainID, diffID }] of stack.entries()) {
        const staging = staged.use(await agent.snapshots.stage(chainID));
        await writeFile(join(staging.directory, `file-${at}`), content);
        const complete = Promise.withResolvers<readonly string[]>();
        const parent = stack[at - 1]?.chainID;
        const { folders, committed } = below;
        const commit = (async () => {
          await staging.commit({
            ...(parent === undefined ? {} : { parent }),
            ...{ below: { folders: await folders, committed }, onComplete: complete.resolve },
            ...{ diffID, bytes: content.length, entries: 1 },
            rebase: async () => {
              // Meanwhile the disk comes to rest, so that it can be copied as it is at one moment.
              if (at === 4) await halfway.promise;
              await writeFile(join(staging.directory, 'rebased'), content);
            },
          });
          told++;
        })();
        commits.push(commit);
        below = { folders: complete.promise, committed: commit };
      }
      const all = Promise.all(commits).then(() => true);
      for (;;) {
        const isOver = await Promise.race([all, sleep(10, false)]);
        const before = told;
        const image = join(folder.path, `crashed-${crashes.length}`);
        await copyFile(disk, image);
        // What did not change since it was copied is what a crash would have left at that moment.
        if ((await readFile(disk)).equals(await readFile(image))) {
          crashes.push({ image, told: before });
          if (before > 0) halfway.resolve();
          if (isOver) break;
        }
      }
    }
    assert.equal(crashes.at(-1)?.told, stack.length);
    for (const { image, told } of crashes) {
      await using mounted = await mountDisk(image, `${image}-mounted`);
      using agent = await openRoot(mounted.path);
      await agent.snapshots.sweep({ isClaimed: () => false });
      const found = stack.map(({ chainID }) => agent.snapshots.committed(chainID) !== undefined);
      const whole = found.filter(Boolean).length;
      assert.ok(found.slice(0, whole).every(Boolean), `${image}: ${found}`);
      assert.ok(whole >= told, `${image}: ${told} were told, ${whole} are there`);
      const top = stack[whole - 1];
      const folders = top === undefined ? [] : agent.snapshots.lowerDirectories(top.chainID);
      for (const [depth, layer] of folders.entries()) {
        for (const name of [`file-${whole - 1 - depth}`, 'rebased']) {
          assert.ok(
            content.equals(await readFile(join(layer, name))),
            `${image}: ${layer}/${name}`,
          );
        }
      }
    }
  });
});
