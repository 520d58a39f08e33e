import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openFolderStore } from '../../shared/content/folder/store.ts';
import type { GcReport } from '../../shared/gc/report.ts';
import { connectRedis } from '../../shared/queue/connection.ts';
import { startDray } from '../support/dray.ts';
import { pushImage, randomLayer, tarOf } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';

interface Printed {
  dryRun: boolean;
  parts: ({ part: string } & GcReport)[];
}

describe('dray gc', () => {
  test('says what would go, removes it in the store and on the node, and nothing that is named or in use', async (t) => {
    if (
      !requireRoot(t) ||
      !requireTool(t, 'docker-registry', 'redis-server', 'runc', 'conmon', 'busybox')
    ) {
      return;
    }
    const registry = await startRegistry();
    t.after(() => registry.stop());
    await using cli = await startDray();
    const { dray } = cli;
    const busybox = await readFile('/bin/busybox');
    const base = await tarOf([
      { name: 'bin/', type: 'directory', mode: 0o755 },
      { name: 'bin/busybox', mode: 0o755, content: busybox },
    ]);
    const build = async (name: string) =>
      await pushImage(registry.host, name, 'v1', [base, await randomLayer(100_000, name)]);
    const [kept, used, gone] = await Promise.all([build('kept'), build('used'), build('gone')]);
    assert.ok(kept !== undefined && used !== undefined && gone !== undefined);
    for (const { reference } of [kept, used, gone])
      await dray('pull', '--progress', 'none', reference);
    const gc = async (...args: string[]): Promise<Printed> =>
      JSON.parse((await dray('gc', '-o', 'json', '--grace', '0s', ...args)).stdout) as Printed;
    const namesOf = ({ parts }: Printed, kind: string) =>
      parts
        .flatMap(({ items }) => items)
        .filter((item) => item.kind === kind)
        .map(({ name }) => name);
    assert.deepEqual(namesOf(await gc('--dry-run'), 'blob'), []);
    assert.deepEqual(namesOf(await gc('--dry-run'), 'snapshot'), []);

    await dray('run', '-d', '--id', 'sleeper', used.reference, '/bin/busybox', 'sleep', '600');
    await dray('images', 'rm', used.reference, gone.reference);
    // Only what the other images do not share.
    const own = (image: typeof gone) => [
      image.digest,
      image.config.digest,
      image.layers[1]?.digest,
    ];
    const dry = await gc('--dry-run');
    assert.deepEqual(new Set(namesOf(dry, 'blob')), new Set([...own(used), ...own(gone)]));
    assert.equal(namesOf(dry, 'snapshot').length, 1, 'the container keeps its image on the node');
    const table = (await dray('gc', '--dry-run', '--grace', '0s')).stdout;
    assert.match(table, /^WHERE +WHAT +NAME +SIZE +WHY\n/);
    assert.match(table, /store: .* in 6 would go\n/);
    assert.match(table, /no name leads to it any more; it was localhost:\d+\/gone:v1/);
    assert.deepEqual(namesOf(await gc('--store'), 'snapshot'), []);
    const done = await gc();
    assert.deepEqual(namesOf(done, 'snapshot'), namesOf(dry, 'snapshot'));
    assert.deepEqual(namesOf(await gc(), 'blob'), []);

    const { stdout: running } = await dray('ps', '-q');
    assert.equal(running, 'sleeper\n');
    await dray('run', '--rm', kept.reference, '/bin/busybox', 'true');
    await dray('kill', '-s', 'KILL', 'sleeper');
    await dray('wait', 'sleeper').catch(() => {});
    await dray('rm', 'sleeper');
    assert.equal(namesOf(await gc(), 'snapshot').length, 1);

    // After Redis was wiped, what is listed stays.
    const redis = connectRedis(
      { url: `unix://${cli.state}/redis/redis.sock`, prefix: '{dray}' },
      { name: 'test' },
    );
    await redis.flushall();
    redis.disconnect();
    for (let tries = 0; tries < 50; tries++, await sleep(300)) {
      if ((await dray('nodes', '-q')).stdout !== '') break;
    }
    await gc();
    await dray('run', '--rm', kept.reference, '/bin/busybox', 'true');
    await using store = await openFolderStore({ path: `${cli.state}/content` });
    for (const { digest } of [kept.config, ...kept.layers]) {
      assert.equal(await store.content.verify(digest), 'right');
    }
    const verified = await dray('content', 'verify');
    assert.match(verified.stdout, /^(sha256:[0-9a-f]{64} {3}right\n){4}$/);
  });
});
