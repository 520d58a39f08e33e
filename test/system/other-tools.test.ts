import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { containerdTools, startContainerd } from '../support/containerd.ts';
import { startDray } from '../support/dray.ts';
import { imageTools, pushToolImages } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { compareTrees, describeTree, type Tree } from '../support/tree.ts';
import { umociTools, withUmociTree } from '../support/umoci.ts';

describe('images that other tools made', () => {
  test("give the tree that containerd's and umoci's unpack of them give", async (t) => {
    const tools = [...imageTools, ...containerdTools, ...umociTools];
    if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server', ...tools)) return;
    await using registry = await startRegistry();
    const images = await pushToolImages(registry.host);
    const undecided = { umoci: new Set<string>(), podman: new Set<string>() };

    for (const { name, reference, family, zstd } of images) {
      await t.test(name, async () => {
        // New ones each time: images of one family have the same diffIDs, and would not be unpacked again.
        await using containerd = await startContainerd();
        await using fleet = await startDray();
        await containerd.pull(reference);
        const peer = {
          name: 'containerd',
          tree: await containerd.withTree(reference, describeTree),
        };
        const oracles = [peer];
        if (!zstd) {
          const other = { name: 'umoci', tree: await withUmociTree(reference, describeTree) };
          for (const path of undecidedFolders(peer.tree, other.tree)) undecided[family].add(path);
          oracles.push(other);
        }
        const { stdout } = await fleet.dray('pull', reference);
        assert.match(stdout, /sha256:[0-9a-f]{64}/);
        const ours = { name: 'drayage', tree: await fleet.withTree(reference, describeTree) };
        for (const oracle of oracles) {
          const differences = compareTrees(ours, oracle, {
            skip: (path, attribute) => attribute === 'mtimeNs' && undecided[family].has(path),
          });
          assert.deepEqual(differences, []);
        }
      });
    }
  });
});

/**
 * Folders that no layer, or only a lower one, has an entry for get the time of their unpacking from one tool
 * and another from the other: no layer says it. All else the two must agree on.
 */
function undecidedFolders(containerd: Tree, umoci: Tree): Set<string> {
  const found = new Set<string>(['.']);
  const differences = compareTrees(
    { name: 'containerd', tree: containerd },
    { name: 'umoci', tree: umoci },
    {
      skip: (path, attribute) => {
        if (attribute !== 'mtimeNs' || containerd.get(path)?.type !== 'directory') return false;
        if (containerd.get(path)?.mtimeNs !== umoci.get(path)?.mtimeNs) found.add(path);
        return true;
      },
    },
  );
  assert.deepEqual(differences, [], 'the oracles agree');
  return found;
}
