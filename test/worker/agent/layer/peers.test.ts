import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { containerdTools, startContainerd } from '../../../support/containerd.ts';
import { pushImage } from '../../../support/push.ts';
import { startRegistry } from '../../../support/registry.ts';
import { requireRoot, requireTool } from '../../../support/requirements.ts';
import {
  fifo,
  file,
  folder,
  gnuLong,
  hardLink,
  pax,
  paxOf,
  paxSparse,
  symlink,
  tar,
} from '../../../support/tar.ts';
import { compareTrees, describeTree } from '../../../support/tree.ts';
import { umociTools, withUmociTree } from '../../../support/umoci.ts';
import { Bench, merged, openApplier } from './applying.ts';

interface Case {
  name: string;
  layers: Buffer[];
  oracle: 'containerd' | 'umoci';
  /** Folders whose time no layer says. */
  undated?: readonly string[];
}

const holes = {
  size: 50_000,
  map: [[10_000, 3] as const, [40_000, 2] as const],
  data: 'abcde',
};

const cases: Case[] = [
  {
    name: '39-to-45',
    oracle: 'containerd',
    undated: ['a', 'a/b', 'etc', 'real'],
    layers: [
      tar(
        ...[file('../x', 'x'), file('////etc/file', 'y'), file('./a/../a/b/c', 'z')],
        ...[folder('real'), symlink('in', '/real'), file('in/file', 'in')],
        ...[symlink('up', '../../..'), file('up/top', 'top')],
        ...[symlink('s', 'nowhere', { uid: 7 }), hardLink('h', 's', { uid: 7 })],
        ...[file('again', 'first'), hardLink('other', 'again'), file('again', 'second')],
      ),
    ],
  },
  {
    name: '59-to-62',
    oracle: 'containerd',
    layers: [
      tar(
        ...[
          pax({ path: 'p', uid: '77', size: '3' }),
          gnuLong('name', 'g'),
          file('x', 'abc', { size: 0 }),
        ],
        ...[gnuLong('name', 'g2'), pax({ path: 'q', gid: '78' }), file('x')],
        ...[pax({ uid: '5' }), pax({ gid: '6' }), file('twice')],
        ...[paxOf('13 uid=12345\n', 'g'), file('after-global')],
        // containerd knows nothing of the old GNU form.
        ...[
          paxSparse('0.0', 'zero', holes),
          paxSparse('0.1', 'one', holes),
          paxSparse('1.0', 'two', holes),
        ],
        folder('sized', { size: 1 << 20 }),
      ),
    ],
  },
  {
    name: '54-to-76',
    oracle: 'containerd',
    layers: [
      tar(
        pax({ 'SCHILY.xattr.user.a': 'b', mtime: '12.3456789' }),
        file('x', 'x', { mode: 0o4755, uid: 1000 }),
        ...[pax({ 'SCHILY.xattr.user.a': 'b' }), symlink('user-on-link', 'x')],
        ...[pax({ 'SCHILY.xattr.user.a': 'b' }), fifo('user-on-fifo')],
        ...[pax({ mtime: '-5.5' }), file('before-1970'), file('late', '', { mtime: 2 ** 40 })],
        file('owners', '', { uid: 2 ** 32 - 2, gid: 2 ** 31 }),
        folder('group', { mode: 0o2775, gid: 50, mtime: 9 }),
        file('group/in', 'x', { gid: 7 }),
      ),
    ],
  },
  {
    name: '49-and-50',
    oracle: 'containerd',
    undated: ['d', 'o', 'e', '.wh..wh.plnk'],
    layers: [
      tar(file('d/old'), file('o/old'), file('f', 'lower'), file('e/1'), file('gone')),
      tar(
        ...[file('d/.wh.old'), file('d/new'), file('o/.wh..wh..opq')],
        ...[file('o/new'), file('.wh.f'), file('f', 'upper'), file('.wh.nothing')],
        ...[file('.wh.gone'), file('e/.wh.1')],
        ...[file('.wh..wh.aufs'), file('.wh..wh.plnk/1.2', 'x')],
      ),
    ],
  },
  {
    // containerd 1.6 shows what was in the folder before.
    name: 'a-folder-made-anew',
    oracle: 'umoci',
    layers: [
      tar(file('d/old'), file('d/deep/old'), folder('e')),
      tar(file('.wh.d'), folder('d', { mtime: 3, mode: 0o700 }), file('.wh.e'), file('e', 'file')),
    ],
  },
  {
    name: 'merged-usr',
    oracle: 'umoci',
    undated: ['usr', 'usr/lib', 'usr/lib/deep', 'usr/bin'],
    layers: [
      tar(
        ...[symlink('lib', 'usr/lib'), symlink('bin', '/usr/bin'), folder('usr')],
        ...[folder('usr/lib', { mode: 0o750, uid: 5 }), folder('usr/bin'), file('usr/lib/gone')],
        ...[file('usr/lib/so', 'so', { uid: 3, mode: 0o4711 })],
      ),
      tar(
        ...[file('lib/new', 'new'), file('lib/deep/file'), file('lib/.wh.gone')],
        ...[hardLink('lib/so2', 'lib/so'), symlink('bin/link', 'x'), file('usr/bin/tool')],
      ),
    ],
  },
  {
    name: 'types-change',
    oracle: 'containerd',
    undated: ['a', 'b', 'd'],
    layers: [
      tar(file('a', 'file'), file('b/in/deep'), symlink('c', '/'), file('d/x')),
      tar(file('a/file'), file('b', 'now a file'), file('c', 'c'), fifo('d')),
    ],
  },
];

describe('layers as the other tools apply them', () => {
  const applier = openApplier();
  after(() => applier[Symbol.asyncDispose]());

  for (const { name, layers, oracle, undated = [] } of cases) {
    test(`${name}: the tree is that of ${oracle}`, async (t) => {
      const tools = oracle === 'containerd' ? containerdTools : umociTools;
      if (!requireRoot(t) || !requireTool(t, 'docker-registry', ...tools)) return;
      await using registry = await startRegistry();
      const { reference } = await pushImage(registry.host, 'layers', name, layers);
      let peer = new Map();
      if (oracle === 'umoci') peer = await withUmociTree(reference, describeTree);
      else {
        await using containerd = await startContainerd();
        await containerd.pull(reference);
        peer = await containerd.withTree(reference, describeTree);
      }
      await using bench = await Bench.open(applier);
      const tree = await merged(await bench.stack(...layers));
      assert.deepEqual(
        compareTrees(
          { name: 'drayage', tree },
          { name: oracle, tree: peer },
          {
            skip: (path, attribute) =>
              attribute === 'mtimeNs' && (path === '.' || undated.includes(path)),
          },
        ),
        [],
      );
    });
  }
});
