import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { openFolderStore } from '../../../../shared/content/folder/store.ts';
import { mediaTypes } from '../../../../shared/image/descriptor.ts';
import { type ChainID, chainIDs, type DiffID, digestOf } from '../../../../shared/image/digest.ts';
import { collectNode, type NodeGcOptions } from '../../../../worker/agent/gc/collect.ts';
import { ImageRows } from '../../../../worker/agent/gc/image-rows.ts';
import { NodeDatabase } from '../../../../worker/agent/node-database.ts';
import { Snapshots } from '../../../../worker/agent/snapshot/snapshots.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { temporaryFolder } from '../snapshot/agent-root.ts';

const run = promisify(execFile);
const MiB = 1 << 20;
const hour = 3_600_000;

/** A node on a small disk of its own, and a store beside it. */
async function openNode(t: { after: (work: () => Promise<unknown>) => void }) {
  const folder = await temporaryFolder();
  const disk = path.join(folder.path, 'disk');
  await run('mkdir', [disk]);
  await run('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', disk]);
  const root = path.join(disk, 'node');
  const database = NodeDatabase.open(root);
  const snapshots = await Snapshots.open({ root, database });
  const images = new ImageRows(database);
  const store = await openFolderStore({ path: path.join(folder.path, 'content') });
  t.after(async () => {
    database.close();
    await run('umount', [disk]);
    await folder[Symbol.asyncDispose]();
  });
  const running: { manifest: ReturnType<typeof digestOf> }[] = [];
  const services = {
    ...{ root, images, snapshots, store },
    containers: { list: () => running as never },
  };
  /** An image whose layers are named by a text and a size in MiB; layers of the same text are shared. */
  const bring = async (name: string, layers: [string, number][], usedMsAgo = 2 * hour) => {
    const manifest = digestOf(`manifest of ${name}`);
    const chain = chainIDs(layers.map(([text]) => digestOf(text) as string as DiffID));
    let parent: ChainID | undefined;
    for (const [i, chainID] of chain.entries()) {
      const [text, size] = layers[i] ?? ['', 0];
      if (snapshots.committed(chainID) === undefined) {
        await using staging = await snapshots.stage(chainID);
        await writeFile(path.join(staging.directory, text), Buffer.alloc(size * MiB, text));
        await staging.commit({
          ...(parent === undefined ? {} : { parent }),
          ...{ diffID: digestOf(text) as string as DiffID, bytes: size * MiB, entries: 1 },
        });
      }
      parent = chainID;
    }
    images.used({ manifest, name, chainID: parent });
    database.run('UPDATE node_images SET used_at = ? WHERE name = ?', Date.now() - usedMsAgo, name);
    database.run('UPDATE snapshots SET created_at = ?', Date.now() - 2 * hour);
    const descriptor = { mediaType: mediaTypes.ociManifest, digest: manifest, size: 1 };
    await store.images.put({ name, target: descriptor, manifest: descriptor });
    return { manifest, descriptor, chain };
  };
  const gc = (options: Partial<NodeGcOptions> = {}) =>
    collectNode(services, {
      ...{ graceMs: hour, dryRun: false, signal: AbortSignal.timeout(20_000) },
      node: { highWater: 95, lowWater: 90, unusedForMs: undefined },
      ...options,
    });
  const committed = () =>
    new Set(snapshots.list().flatMap(({ kind, name }) => (kind === 'committed' ? [name] : [])));
  return { ...services, database, bring, gc, committed, running };
}

describe('garbage of a node', () => {
  test('snapshots of images that are named, run, desired or being unpacked stay; others go when they are old', async (t) => {
    if (!requireRoot(t)) return;
    const node = await openNode(t);
    const { snapshots, store } = node;
    const named = await node.bring('r/named:1', [
      ['base', 1],
      ['named', 1],
    ]);
    const ran = await node.bring('r/ran:1', [
      ['base', 1],
      ['ran', 1],
    ]);
    const desired = await node.bring('r/desired:1', [['desired', 1]]);
    const held = await node.bring('r/held:1', [['held', 1]]);
    const young = await node.bring('r/young:1', [['young', 1]], 1_000);
    const gone = await node.bring('r/gone:1', [
      ['base', 1],
      ['gone', 1],
      ['top', 1],
    ]);
    for (const name of ['ran', 'desired', 'held', 'young', 'gone']) {
      await store.images.remove(`r/${name}:1`);
    }
    // Of an image that nobody remembers.
    const orphan = await node.bring('r/orphan:1', [['orphan', 1]]);
    node.database.run('DELETE FROM node_images WHERE name = ?', 'r/orphan:1');
    await snapshots.prepare('box', ran.chain.at(-1));
    node.running.push({ manifest: ran.manifest });
    await store.desired.put({
      ...{ name: 's', reference: 'r/desired:1', platform: 'linux/amd64', selector: '' },
      ...{ retention: { previous: 0 }, pace: {}, priority: 'normal', createdAt: new Date() },
      current: { target: desired.descriptor, manifest: desired.descriptor, since: new Date() },
      previous: [],
    });
    const hold = snapshots.hold(held.chain[0] as ChainID);
    const before = node.committed();
    const dry = await node.gc({ dryRun: true });
    assert.deepEqual(node.committed(), before);
    const expected = [...gone.chain.slice(1), ...orphan.chain, ...held.chain];
    assert.deepEqual(new Set(dry.items.map(({ name }) => name)), new Set(expected));
    const done = await node.gc();
    assert.deepEqual(
      new Set(done.items.map(({ name }) => name)),
      new Set([...gone.chain.slice(1), ...orphan.chain]),
      'what is being unpacked stays',
    );
    assert.match(
      done.items.find(({ name }) => name === gone.chain[2])?.why ?? '',
      /^no name leads to it any more; it was r\/gone:1, last used 2 h ago$/,
    );
    assert.deepEqual(
      node.committed(),
      new Set([named, ran, desired, held, young].flatMap(({ chain }) => chain)),
    );
    hold[Symbol.dispose]();
    assert.deepEqual(
      (await node.gc()).items.map(({ name }) => name),
      held.chain,
    );
  });

  test('above the high-water mark those go that were used longest ago, down to the low one', async (t) => {
    if (!requireRoot(t)) return;
    const node = await openNode(t);
    const oldest = await node.bring(
      'r/oldest:1',
      [
        ['base', 10],
        ['oldest', 10],
      ],
      9 * hour,
    );
    const older = await node.bring(
      'r/older:1',
      [
        ['base', 10],
        ['older', 10],
      ],
      8 * hour,
    );
    const newer = await node.bring(
      'r/newer:1',
      [
        ['base', 10],
        ['newer', 10],
      ],
      7 * hour,
    );
    const water = { highWater: 60, lowWater: 50, unusedForMs: undefined };
    assert.deepEqual((await node.gc({ node: { ...water, highWater: 70 } })).items, []);
    for (const dryRun of [true, false]) {
      const report = await node.gc({ node: water, dryRun });
      assert.deepEqual(
        report.items.map(({ name }) => name),
        [oldest.chain[1]],
      );
      assert.match(
        report.items[0]?.why ?? '',
        /^the disk is 6\d % full, and r\/oldest:1 was used longest ago, 9 h/,
      );
    }
    assert.deepEqual(node.committed(), new Set([...older.chain, ...newer.chain]));
    // It can't be done: the one stays since it was just used, the other since a container needs it.
    node.running.push({ manifest: older.manifest });
    node.images.used({ manifest: newer.manifest, name: 'r/newer:1', chainID: newer.chain[1] });
    const report = await node.gc({ node: { ...water, highWater: 10, lowWater: 5 } });
    assert.deepEqual(report.items, []);
    assert.match(report.problems.join(), /is 4\d % full, and no more images can go/);
    // By age alone, whatever room there is.
    node.running.length = 0;
    const aged = await node.gc({ node: { ...water, unusedForMs: 6 * hour } });
    assert.deepEqual(
      aged.items.map(({ name }) => name),
      [older.chain[1]],
    );
  });

  test('without the store nothing goes', async (t) => {
    if (!requireRoot(t)) return;
    const node = await openNode(t);
    await node.bring('r/a:1', [['a', 1]]);
    await node.store.images.remove('r/a:1');
    const { gc } = node;
    node.store.images.get = () => Promise.reject(new Error('the store is away'));
    const report = await gc();
    assert.deepEqual(report.items, []);
    assert.match(report.problems.join(), /the store is away/);
    assert.equal(node.committed().size, 1);
  });
});
