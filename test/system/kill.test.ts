import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { PullStatus } from '../../shared/pull/status.ts';
import { watchBlobs } from '../support/blob-watch.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import type { TestProgram } from '../support/programs.ts';
import { pushImage, tarOf } from '../support/push.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { type SlowLink, startSlowLink } from '../support/slow-link.ts';

interface Parts {
  fleet: TestFleet;
  worker: TestProgram;
  agent: TestProgram;
}

interface Case {
  name: string;
  /** The moment at which the victim dies. */
  when: (status: PullStatus) => boolean;
  /** Bytes that the registry sends before that moment: with them it comes, however slow the machine is, and no end of the pull. */
  sent: number;
  /** Kills, and starts again. */
  strike: (parts: Parts) => Promise<void>;
}

const fetched = (bytes: number) => (status: PullStatus) =>
  status.blobs.some((blob) => blob.kind === 'layer' && blob.bytes >= bytes && !blob.existed);
/** The first layer is in, and unpacked, long before the others. */
const layerBytes = [500_000, 4_000_000, 4_000_000];
/** The first layer, and at least a MB of another one; not all. */
const half = 4_000_000;
const bytesPerSecond = 6_000_000;

const blobIn = (status: PullStatus) =>
  status.blobs.some((blob) => blob.kind === 'layer' && blob.state === 'stored');

const restartWorker = async ({ fleet, worker }: Parts) => {
  await worker.kill();
  await fleet.startWorker('w-again');
};
const restartAgent = async ({ fleet, agent }: Parts) => {
  await agent.kill();
  await fleet.startAgent('n1');
};
const restartRedis = async ({ fleet }: Parts) => {
  await fleet.server.kill();
  await fleet.server.restart();
};

const cases: Case[] = [
  {
    name: 'the worker, while it resolves',
    when: (s) => s.state === 'resolving',
    sent: 0,
    strike: restartWorker,
  },
  {
    name: 'the worker, early in a blob',
    when: fetched(200_000),
    sent: half,
    strike: restartWorker,
  },
  {
    name: 'the worker, when the first blob is in',
    when: blobIn,
    sent: half,
    strike: restartWorker,
  },
  {
    name: 'the agent, while the first blob comes in',
    when: fetched(1_000_000),
    sent: half,
    strike: restartAgent,
  },
  {
    name: 'the agent, when it has committed a layer',
    when: (s) => s.nodes.some((n) => n.layers.some((l) => l.state === 'done')),
    sent: half,
    strike: restartAgent,
  },
  {
    name: 'Redis, early in a blob',
    when: fetched(200_000),
    sent: half,
    strike: restartRedis,
  },
  {
    name: 'Redis, when the first blob is in',
    when: blobIn,
    sent: half,
    strike: restartRedis,
  },
];

describe('kill -9 in the middle of a pull', () => {
  let registry: TestRegistry;
  let link: SlowLink;

  before(async () => {
    registry = await startRegistry();
    link = await startSlowLink(registry.host, { bytesPerSecond });
  });
  after(async () => {
    await link[Symbol.asyncDispose]();
    await registry.stop();
  });

  for (const { name, when, sent, strike } of cases) {
    test(`${name}: the pull finishes, the tree is right, no partial blob was readable`, async (t) => {
      if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
      const contents = layerBytes.map((bytes) => randomBytes(bytes));
      const tars = await Promise.all(
        contents.map((content, i) => tarOf([{ name: `file-${i}`, content, mode: 0o640 }])),
      );
      const repository = `kill-${randomBytes(4).toString('hex')}`;
      await pushImage(registry.host, repository, 'v1', tars, { compression: 'none' });

      await using fleet = await startFleet();
      const worker = await fleet.startWorker('w1');
      const agent = await fleet.startAgent('n1');
      await using blobs = watchBlobs(path.join(fleet.folder, 'content'));
      link.stopAfter(sent);
      const id = await fleet.pull({ reference: `${link.host}/${repository}:v1`, nodes: ['n1'] });
      let struck = false;
      for await (const status of fleet.pulls.watch(id)) {
        assert.ok(!['ready', 'failed'].includes(status.state), 'the pull ended before the kill');
        if (!when(status)) continue;
        struck = true;
        break;
      }
      assert.ok(struck);
      await strike({ fleet, worker, agent });
      link.setRate(bytesPerSecond);

      const status = await fleet.ended(id, 90_000);
      assert.equal(status.state, 'ready', JSON.stringify(status.error ?? status.nodes));
      const { seen, broken } = await blobs.stop();
      assert.deepEqual(broken, []);
      assert.equal(seen, 5);
      await assertTree(fleet.nodeRoot('n1'), contents);
    });
  }
});

/** Each layer's file stands in a committed snapshot, whole, and nothing else is on the node. */
async function assertTree(nodeRoot: string, contents: Buffer[]): Promise<void> {
  const snapshots = path.join(nodeRoot, 'snapshots');
  const found = new Map<string, string>();
  for (const id of await readdir(snapshots)) {
    for (const file of await readdir(path.join(snapshots, id, 'fs'))) {
      found.set(file, sha256(await readFile(path.join(snapshots, id, 'fs', file))));
    }
  }
  assert.deepEqual(
    [...found].sort(),
    contents.map((content, i) => [`file-${i}`, sha256(content)]),
  );
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
