import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { MountRequest } from '../../../../shared/agent/run-options.ts';
import { makeVolumes } from '../../../../worker/agent/containers/volumes.ts';

describe('makeVolumes', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'dray-volumes-'));
    const root = path.join(folder, 'root');
    await mkdir(path.join(root, 'etc'), { recursive: true });
    await writeFile(path.join(root, 'etc/of-the-image'), 'image');
    // Of the node, where an image might want to get.
    await writeFile(path.join(folder, 'secret'), 'node');
    await symlink('/../../../etc', path.join(root, 'up'));
    await symlink(path.join(folder, 'secret'), path.join(root, 'etc/link'));
    await symlink('../..', path.join(root, 'out'));
    await promisify(execFile)('mkfifo', [path.join(root, 'etc/fifo')]);
  });
  after(() => rm(folder, { recursive: true }));
  const taken = new Set<string>();

  const make = async (own: string, ...mounts: MountRequest[]) => {
    const made = await makeVolumes(mounts, {
      named: path.join(folder, 'named'),
      own: path.join(folder, own),
      rootfs: path.join(folder, 'root'),
      userMapping: undefined,
      isTaken: (name) => taken.has(name),
    });
    return made.map((mount) => (mount.type === 'bind' ? mount.source : ''));
  };

  test('what an image has at the place, and never what lies outside its root', async () => {
    const targets = ['/etc', '/up', '/etc/../../etc', '/out/../up', '/not/there'];
    const volumes = await make(
      'a',
      ...targets.map((target) => ({ type: 'volume' as const, target })),
    );
    const content = ['fifo', 'link', 'of-the-image'];
    assert.deepEqual(
      await Promise.all(volumes.map(async (volume) => (await readdir(volume)).sort())),
      [content, content, content, content, []],
    );
    const [first = ''] = volumes;
    assert((await lstat(path.join(first, 'link'))).isSymbolicLink());
    assert((await lstat(path.join(first, 'fifo'))).isFIFO());
    assert.equal(new Set(volumes).size, targets.length);
    await assert.rejects(make('b', { type: 'volume', target: '/etc/of-the-image' }), {
      code: 'CONFIG_INVALID',
    });
  });

  test('one that is empty is filled, as docker does it, but not where a container may have it mounted', async () => {
    const place = path.join(folder, 'named', 'empty');
    await mkdir(place, { recursive: true });
    const { ino } = await lstat(place);
    taken.add('empty');
    await make('f', { type: 'volume', source: 'empty', target: '/etc' });
    assert.deepEqual([await readdir(place), (await lstat(place)).ino], [[], ino]);
    taken.delete('empty');
    await make('g', { type: 'volume', source: 'empty', target: '/etc' });
    assert.equal(await readFile(path.join(place, 'of-the-image'), 'utf8'), 'image');
    await rm(place, { recursive: true });
  });

  test('a volume with a name is filled when it is made, and then kept', async () => {
    const [made = ''] = await make('c', { type: 'volume', source: 'data', target: '/etc' });
    await writeFile(path.join(made, 'of-the-image'), 'changed');
    const [again = ''] = await make('d', { type: 'volume', source: 'data', target: '/etc' });
    assert.equal(again, made);
    assert.equal(await readFile(path.join(again, 'of-the-image'), 'utf8'), 'changed');
    assert.deepEqual(await readdir(path.join(folder, 'named')), ['data']);
    for (const source of ['../up', '.hidden', 'a/b', '']) {
      await assert.rejects(make('e', { type: 'volume', source, target: '/etc' }), {
        code: 'CONFIG_INVALID',
      });
    }
  });
});
