import assert from 'node:assert/strict';
import { readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { dray } from '../producer/cli/dray.ts';
import { startFleet } from '../support/fleet.ts';
import { pushImage, tarOf } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { startSlowLink } from '../support/slow-link.ts';
import { pushKnown } from './support/bucket-fleet.ts';

const ways = ['FLUSHALL', 'an empty restart'] as const;
/** Milliseconds in which nodes are known again: a heartbeat, and a wait between two tries to connect. */
const registered = 15_000;
/** Milliseconds in which a node that joins gets what it shall hold. */
const keptWithin = 45_000;
const layerBytes = 4_000_000;

for (const way of ways) {
  test(`Redis is wiped by ${way} in the middle of a pull: images are listed and run, pulls go on where they were`, {
    timeout: 180_000,
  }, async (t) => {
    if (!requireRoot(t)) return;
    if (!requireTool(t, 'docker-registry', 'redis-server', 'runc', 'conmon', 'busybox')) return;
    await using registry = await startRegistry();
    await using link = await startSlowLink(registry.host, { bytesPerSecond: 1_000_000 });
    await using fleet = await startFleet();
    await Promise.all([
      ...[fleet.startWorker('w1'), fleet.startWorker('w2')],
      ...[fleet.startAgent('n1'), fleet.startAgent('n2')],
    ]);
    const busybox = { content: await readFile('/bin/busybox'), mode: 0o755 };
    const tars = [await tarOf([{ name: 'bin/busybox', ...busybox }])];
    const tool = await pushImage(registry.host, 'tool', 'v1', tars);
    const nodes = ['n1', 'n2'];
    // Whoever works on a node of the fleet.
    const env = { ...fleet.env, DRAY_STATE: path.join(fleet.folder, 'n1') };
    const run = async (...args: string[]) => {
      const ended = await dray(args, { env });
      assert.equal(ended.code, 0, `dray ${args.join(' ')}: ${ended.stderr}`);
      return ended.stdout;
    };
    await run('pull', '--all-nodes', '--keep-as', 'tools', tool.reference);

    await pushKnown(registry, 'large', [layerBytes, layerBytes]);
    const reference = `${link.host}/large:v1`;
    const first = await fleet.pull({ reference, nodes });
    for await (const { blobs } of fleet.pulls.watch(first)) {
      if (blobs.some(({ kind, bytes }) => kind === 'layer' && bytes > layerBytes / 4)) break;
    }
    if (way === 'FLUSHALL') await fleet.redis.flushall();
    else {
      await fleet.server.kill();
      const folder = path.dirname(fleet.server.url.slice('unix://'.length));
      await rm(path.join(folder, 'appendonlydir'), { recursive: true });
      await fleet.server.restart();
    }
    const wiped = performance.now();
    assert.equal(await fleet.pulls.get(first), undefined);

    assert.match(await run('images'), /tool/);
    for (;;) {
      const listed = await run('nodes');
      if (nodes.every((node) => listed.includes(node))) break;
      assert.ok(performance.now() - wiped < registered, `the nodes are not known again: ${listed}`);
      await sleep(500);
    }
    const said = await run('run', '--rm', tool.reference, '/bin/busybox', 'echo', 'still here');
    assert.equal(said, 'still here\n');

    const again = await fleet.ended(await fleet.pull({ reference, nodes }));
    assert.equal(again.state, 'ready', JSON.stringify(again.error ?? again.nodes));
    // What nodes shall hold is known from the store: one that joins now gets it.
    assert.match(await run('desired'), /tools/);
    const asked = (await registry.accessLog()).length;
    await fleet.startAgent('n3');
    const joined = performance.now();
    while ((await readdir(path.join(fleet.nodeRoot('n3'), 'snapshots'))).length === 0) {
      assert.ok(
        performance.now() - joined < keptWithin,
        'a new node does not get what it shall hold',
      );
      await sleep(500);
    }
    const once = await fleet.ended(await fleet.pull({ reference: tool.reference, nodes }));
    assert.equal(once.state, 'ready');
    const later = (await registry.accessLog()).slice(asked);
    assert.deepEqual(
      later.filter((entry) => entry.path.includes('/blobs/')),
      [],
    );
    // What was in a worker's hands when nobody knew any more that it is wanted, and what goes with it.
    const twice = link.passed() - 2 * layerBytes;
    assert.ok(twice < layerBytes / 4, `${twice} bytes of ${2 * layerBytes} came twice`);
  });
}
