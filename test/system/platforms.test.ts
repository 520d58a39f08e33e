import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { keepImage } from '../../producer/keep.ts';
import { openStore } from '../../shared/content/open.ts';
import { DesiredSets } from '../../shared/desired/desired-sets.ts';
import { statusOfSet } from '../../shared/desired/set-status.ts';
import type { Digest } from '../../shared/image/digest.ts';
import { formatPlatform, hostPlatform, parsePlatform } from '../../shared/image/platform.ts';
import { imagesOfNodes } from '../../shared/node/node-images.ts';
import { listNodes } from '../../shared/node/registry.ts';
import { PullRecords } from '../../shared/pull/records.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import { type BuiltImage, pushImage, pushIndex, tarOf } from '../support/push.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';

const run = promisify(execFile);
const dray = path.resolve(import.meta.dirname, '../../producer/cli/dray');
const preload = path.resolve(import.meta.dirname, '../support/other-platform.ts');

const own = formatPlatform(hostPlatform());
/** What agents take their machine for: Node's names of architectures beside the platforms that nodes announce. */
const machines = { own: undefined, other: 's390x', strange: 'riscv64' } as const;
const other = 'linux/s390x';
const strange = 'linux/riscv64';

describe('nodes of several platforms', { skip: process.getuid?.() !== 0 }, () => {
  let registry: TestRegistry;
  let fleet: TestFleet;

  before(async () => {
    registry = await startRegistry();
    fleet = await startFleet();
    await fleet.startWorker('w1');
    await Promise.all(Object.entries(machines).map(([name, arch]) => startAgent(name, arch)));
  });
  after(async () => {
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
  });

  async function startAgent(name: string, arch: string | undefined): Promise<void> {
    const env = arch === undefined ? {} : { NODE_OPTIONS: `--import=${preload}`, TEST_ARCH: arch };
    await fleet.startAgent(name, env);
  }

  /** An index of an image for this machine and one for the other, each with a file that says for which. */
  async function push(
    platforms: readonly string[] = [own, other],
    before?: { repository: string; like: readonly BuiltImage[] },
  ) {
    const repository = before?.repository ?? `app-${randomBytes(4).toString('hex')}`;
    const images: { image: BuiltImage; platform: ReturnType<typeof parsePlatform> }[] = [];
    for (const name of platforms) {
      const platform = parsePlatform(name);
      const same = name === own ? before?.like[0] : undefined;
      if (same !== undefined) {
        images.push({ image: same, platform });
        continue;
      }
      const tar = await tarOf([
        { name: 'platform', content: name },
        { name: 'noise', content: randomBytes(10_000) },
      ]);
      const tag = platform.architecture;
      const image = await pushImage(registry.host, repository, tag, [tar], { platform });
      images.push({ image, platform });
    }
    const index = await pushIndex(registry.host, repository, 'v1', images);
    return { ...index, images: images.map(({ image }) => image) };
  }

  const command = async (...args: string[]) => {
    const env = { ...process.env, ...fleet.env, PATH: process.env.PATH };
    return await run(dray, args, { env, cwd: '/' }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({
        ...{ code, stdout, stderr },
      }),
    );
  };

  test('one pull: the index is pinned once, each node gets the image for its own platform, one that it lacks fails alone', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    const { reference, digest, images } = await push();
    const status = await fleet.ended(await fleet.pull({ reference, nodes: [], selector: '' }));
    assert.equal(status.state, 'partial', JSON.stringify(status));
    assert.equal(status.target?.digest, digest);
    assert.deepEqual(
      status.nodes.map(({ name, platform, state, error }) => [name, platform, state, error?.code]),
      [
        ['other', other, 'ready', undefined],
        ['own', own, 'ready', undefined],
        ['strange', strange, 'failed', 'PLATFORM_UNKNOWN'],
      ],
    );
    const lacking = status.nodes.find(({ name }) => name === 'strange');
    assert.match(lacking?.error?.message ?? '', /has no image for linux\/riscv64/);
    for (const [at, name] of ['own', 'other'].entries()) {
      const node = status.nodes.find((each) => each.name === name);
      const image = images[at];
      assert.deepEqual(
        node?.layers.map((layer) => [layer.digest, layer.state]),
        image?.layers.map((layer) => [layer.digest, 'done']),
      );
      const held = await imagesOfNodes(fleet.redis, fleet.config.redis.prefix, [name]);
      assert.deepEqual(held.get(name), [image?.digest]);
    }
    // The whole is said of each platform, too.
    assert.deepEqual(
      status.images?.map(({ platform, manifest, error }) => [
        platform,
        manifest?.digest,
        error?.code,
      ]),
      [own, other, strange]
        .toSorted()
        .map((platform) => [
          platform,
          images[[own, other].indexOf(platform)]?.digest,
          platform === strange ? 'PLATFORM_UNKNOWN' : undefined,
        ]),
    );
    // What is in the store is neither fetched nor unpacked again.
    const again = await fleet.ended(await fleet.pull({ reference, nodes: ['own', 'other'] }));
    assert.equal(again.state, 'ready');
    assert.ok(again.blobs.every(({ existed }) => existed));
    assert.ok(again.nodes.every(({ layers }) => layers.every(({ existed }) => existed)));
  });

  test('what people see, and what a node takes a name for', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    const { reference, images } = await push();
    const pulled = await command('pull', '--all-nodes', '--progress', 'plain', reference);
    assert.equal(pulled.code, 3, pulled.stderr);
    assert.match(pulled.stderr, /node other \(linux\/s390x\).*ready/);
    assert.match(pulled.stderr, /strange: .* has no image for linux\/riscv64/);
    assert.match(pulled.stderr, /is ready on 2 of 3 nodes/);
    // Each node makes of the one name what it holds.
    for (const [at, name] of ['own', 'other'].entries()) {
      const socket = path.join(fleet.folder, name, 'run/agent.sock');
      const env = { ...process.env, ...fleet.env, DRAY_AGENT_SOCKET: socket };
      const prepare = async (image: string, key: string) =>
        await run(dray, ['snapshots', 'prepare', key, image], { env, cwd: '/' });
      await prepare(reference, `by-name-${at}`);
      await prepare(images[at]?.digest ?? '', `by-digest-${at}`);
    }
  });

  test('garbage collection on a node leaves what the name means there', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    const { reference, images } = await push();
    await fleet.ended(await fleet.pull({ reference, nodes: ['own', 'other'] }));
    // The snapshot of the one layer of each.
    const chains = images.map(({ diffIDs }) => diffIDs[0] ?? '');
    const wouldGo = async () => {
      const { code, stdout, stderr } = await command(
        ...['gc', '--dry-run', '--grace', '0s', '-o', 'json'],
        ...['--node', 'own', '--node', 'other'],
      );
      assert.equal(code, 0, stderr);
      return chains.map((chain) => stdout.includes(chain));
    };
    assert.deepEqual(await wouldGo(), [false, false]);
    assert.equal((await command('images', 'rm', reference)).code, 0);
    assert.deepEqual(await wouldGo(), [true, true]);
  });

  test('platforms that are asked for', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    const { reference, images } = await push([own, other, 'linux/ppc64le']);
    // One alone goes to every node, whatever it is.
    const forced = await fleet.ended(
      await fleet.pull({ reference, nodes: ['own', 'strange'], platform: other }),
    );
    assert.equal(forced.state, 'ready', JSON.stringify(forced));
    assert.equal(forced.manifest?.digest, images[1]?.digest);
    assert.equal(forced.images, undefined);
    // Of several, or all, each node gets its own; all of them go into the store.
    const several = `${own},${other}`;
    const listed = await fleet.ended(
      await fleet.pull({ reference, nodes: [], selector: '', platform: several }),
    );
    assert.deepEqual(
      [listed.state, listed.platform, listed.nodes.map(({ name }) => name)],
      ['ready', several, ['other', 'own']],
    );
    await assert.rejects(fleet.pull({ reference, nodes: ['strange'], platform: several }), {
      code: 'USAGE',
      message: /strange is linux\/riscv64/,
    });
    const all = await fleet.ended(
      await fleet.pull({ reference, nodes: ['other'], platform: 'all' }),
    );
    assert.equal(all.state, 'ready', JSON.stringify(all));
    assert.deepEqual(
      all.nodes[0]?.layers.map(({ digest }) => digest),
      images[1]?.layers.map(({ digest }) => digest),
    );
    await using store = await openStore(fleet.config.store);
    for (const { layers } of images) {
      for (const { digest } of layers) assert.ok(await store.content.info(digest));
    }
    const lacking = await fleet.ended(
      await fleet.pull({ reference, nodes: [], platform: `${own},linux/mips64le` }),
    );
    assert.deepEqual([lacking.state, lacking.error?.code], ['failed', 'PLATFORM_UNKNOWN']);
  });

  test('a desired set: each member holds the image for its own platform, those that join later, too', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    const { redis, config } = fleet;
    const { prefix } = config.redis;
    const first = await push();
    const repository = first.reference.split('/')[1]?.split(':')[0] ?? '';
    await using store = await openStore(config.store);
    const keep = async () => {
      const request = { reference: first.reference, nodes: [], selector: 'name!=strange' };
      const keeping = { name: 'both', retention: { previous: 0 } };
      const { pull } = await keepImage(request, keeping, { config, redis, store });
      return await fleet.ended(pull);
    };
    const held = async (name: string) =>
      (await imagesOfNodes(redis, prefix, [name])).get(name) ?? [];
    const untilHeld = async (name: string, digest: Digest | undefined) => {
      for (const deadline = Date.now() + 120_000; ; await sleep(100)) {
        if (digest !== undefined && (await held(name)).includes(digest)) return;
        assert.ok(Date.now() < deadline, `${name} does not hold ${digest}`);
      }
    };
    assert.equal((await keep()).state, 'ready');
    await startAgent('late', 's390x');
    await untilHeld('late', first.images[1]?.digest);
    const sets = new DesiredSets(redis, prefix, store.desired);
    const status = async () => {
      const set = await sets.get('both');
      assert.ok(set !== undefined);
      return await statusOfSet(set, await listNodes(redis, prefix), { redis, prefix });
    };
    assert.deepEqual((await status()).nodes, { total: 3, ready: 3 });
    // A new image for one of the platforms is a new version; what the others hold is that already.
    const next = await push([own, other], { repository, like: first.images });
    assert.equal((await keep()).state, 'ready');
    for (const name of ['other', 'late']) await untilHeld(name, next.images[1]?.digest);
    assert.equal(next.images[0]?.digest, first.images[0]?.digest);
    assert.deepEqual((await status()).nodes, { total: 3, ready: 3 });
    assert.equal((await status()).current?.target.digest, next.digest);
    const pulls = new PullRecords(redis, prefix);
    const before = await pulls.recent(100);
    // Several rounds, in which nothing is lacking.
    await sleep(10_000);
    assert.deepEqual(await pulls.recent(100), before);
    assert.ok(await sets.remove('both'));
  });

  test('where no node can have it, the pull fails as a whole', async (t) => {
    if (!requireTool(t, 'docker-registry', 'redis-server') || !requireRoot(t)) return;
    const { reference } = await push(['linux/ppc64le', 'linux/mips64le']);
    const status = await fleet.ended(await fleet.pull({ reference, nodes: [], selector: '' }));
    assert.deepEqual([status.state, status.error?.code], ['failed', 'PLATFORM_UNKNOWN']);
  });
});
