import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { dray } from '../producer/cli/dray.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import { pushImage, tarOf } from '../support/push.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

describe('digests as tables show them', () => {
  let fleet: TestFleet;
  let registry: TestRegistry;
  let image: Awaited<ReturnType<typeof pushImage>>;
  let pull: string;

  before(async () => {
    registry = await startRegistry();
    fleet = await startFleet();
    await fleet.startWorker('w1');
    image = await pushImage(registry.host, 'app', 'v1', [await tarOf([{ name: 'file' }])]);
    pull = await fleet.pull({ reference: image.reference, nodes: [] });
    assert.equal((await fleet.ended(pull)).state, 'ready');
  });
  after(async () => {
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
  });

  async function run(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await dray(args, { env: fleet.env });
    assert.equal(code, 0, `dray ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  test('content and documents are got by their first digits', async () => {
    const short = image.digest.slice(0, 'sha256:'.length + 12);
    const manifest = await run('content', 'get', image.digest);
    assert.match(manifest, /"layers"/);
    for (const text of [short, short.slice('sha256:'.length)]) {
      assert.equal(await run('content', 'get', text), manifest);
      assert.equal(await run('manifest', text), manifest);
    }
    assert.match(await run('config', short), /"rootfs"/);
    assert.match(
      await run('resolve', short),
      new RegExp(`^${registry.host}/app@${image.digest}\n$`),
    );
    assert.equal(await run('referrers', '-q', short), '');
    assert.equal(await run('content', 'verify', short), `${image.digest}   right\n`);
    const none = await dray(['content', 'get', 'sha256:0123456789ab'], { env: fleet.env });
    assert.deepEqual([none.code, none.stdout], [1, '']);
    assert.match(none.stderr, /no blob sha256:0123456789ab\n {2}hint: /);
  });

  test('what only asks a registry is not among the pulls, and can be looked at all the same', async () => {
    await run('manifest', image.reference);
    assert.equal(await run('pulls', '-q'), `${pull}\n`);
  });

  test('images are named and removed by their first digits, where they have one name', async () => {
    const short = image.digest.slice(0, 'sha256:'.length + 12);
    const { stderr } = await dray(['images', 'rm', 'sha256:0123456789ab'], { env: fleet.env });
    assert.match(stderr, /has no image sha256:0123456789ab\n/);
    assert.equal(await run('images', 'tag', short, 'registry.local/x:1'), 'registry.local/x:1\n');
    const several = await dray(['images', 'rm', short], { env: fleet.env });
    assert.equal(several.code, 2);
    assert.match(
      several.stderr,
      new RegExp(`has 2 names: ${image.reference}, registry.local/x:1\n`),
    );
    await run('images', 'rm', 'registry.local/x:1');
    assert.equal(await run('images', 'rm', short), `${image.reference}\n`);
    assert.equal(await run('images', '-q'), '');
  });
});
