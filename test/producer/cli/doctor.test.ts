import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { dray, launcher } from './dray.ts';

interface Result {
  name: string;
  state: string;
  found: string;
  hint?: string;
}

describe('dray doctor', () => {
  let folder: string;
  let server: TestRedis;
  let env: NodeJS.ProcessEnv;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'dray-doctor-'));
    server = await startRedis();
    env = {
      REDIS_URL: server.url,
      DRAY_STORE: `folder:${path.join(folder, 'content')}`,
      DRAY_STATE: path.join(folder, 'state'),
    };
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const examine = async (args: string[], own: NodeJS.ProcessEnv = {}) => {
    const { code, stdout, stderr } = await dray(['doctor', '-o', 'json', ...args], {
      env: { ...env, ...own },
    });
    assert.equal(stderr, '');
    const results = JSON.parse(stdout) as Result[];
    return { code, of: (name: string) => results.find((each) => each.name === name) };
  };

  test('a fleet that is well', async () => {
    const { code, of } = await examine([]);
    for (const name of ['redis', 'redis settings', 'redis memory', 'clock', 'store']) {
      assert.equal(of(name)?.state, 'ok', JSON.stringify(of(name)));
    }
    assert.equal(of('node')?.state, 'skipped');
    assert.equal(code, 0);
    // Only that nobody works there yet.
    assert.equal(of('workers')?.state, 'warning');
    assert.match(of('workers')?.hint ?? '', /dray worker/);
    const status = await dray(['status'], { env });
    assert.equal(status.code, 1);
    assert.match(status.stdout, /^workers +stopped .*dray worker/m);
    // What it put into the store is gone again.
    const left = await readdir(path.join(folder, 'content'), { recursive: true });
    assert.deepEqual(
      left.filter((name) => /[0-9a-f]{64}/.test(name)),
      [],
    );
  });

  test('each wrong setting of Redis is named, with what mends it', async () => {
    const redis = server.connect();
    const cases = [
      ['maxmemory-policy', 'allkeys-lru', 'noeviction'],
      ['appendonly', 'no', 'yes'],
    ] as const;
    for (const [setting, wrong, right] of cases) {
      await redis.call('CONFIG', 'SET', setting, wrong);
      const { code, of } = await examine([]);
      assert.equal(code, 1);
      assert.equal(of('redis settings')?.state, 'failed');
      assert.ok(of('redis settings')?.found.includes(setting));
      assert.ok(of('redis settings')?.hint?.includes(`config set ${setting} ${right}`));
      await redis.call('CONFIG', 'SET', setting, right);
    }
    for (const [setting, wrong] of cases) await redis.call('CONFIG', 'SET', setting, wrong);
    const { of } = await examine([]);
    for (const [setting, , right] of cases) {
      assert.ok(of('redis settings')?.found.includes(setting));
      assert.ok(of('redis settings')?.hint?.includes(`config set ${setting} ${right}`));
      await redis.call('CONFIG', 'SET', setting, right);
    }
  });

  test('what can not be reached is said, without its password, and the rest is checked', async () => {
    const { code, of } = await examine([], { REDIS_URL: 'redis://:canary@127.0.0.1:1' });
    assert.equal(code, 1);
    assert.match(of('redis')?.found ?? '', /127\.0\.0\.1:1 can't be used: connect ECONNREFUSED/);
    assert.doesNotMatch(JSON.stringify(of('redis')), /canary/);
    assert.ok(of('redis')?.hint);
    assert.equal(of('store')?.state, 'ok');
    const away = await examine([], {
      DRAY_STORE: 's3://bucket/prefix',
      AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1',
      AWS_ACCESS_KEY_ID: 'a',
      AWS_SECRET_ACCESS_KEY: 'b',
    });
    assert.deepEqual([away.of('store')?.state, away.of('redis')?.state], ['failed', 'ok']);
    assert.equal(away.of('store conditions')?.state, 'failed');
  });

  test('a node is checked for what it needs', async () => {
    const { of } = await examine(['--node'], {
      DRAY_CNI_PATH: path.join(folder, 'none'),
      PATH: `${path.dirname(process.execPath)}:/bin:/usr/bin`,
    });
    assert.equal(of('root')?.state, process.getuid?.() === 0 ? 'ok' : 'failed');
    assert.match(of('kernel')?.found ?? '', /^Linux \d+\..*overlayfs/);
    assert.match(of('disk')?.found ?? '', /free at/);
    assert.match(of('init')?.found ?? '', /catatonit/);
    const plugins = of('CNI plugins');
    assert.equal(plugins?.state, 'warning');
    assert.match(plugins?.hint ?? '', /containernetworking-plugins/);
    const { of: shared } = await examine(['--no-node'], {});
    assert.equal(shared('kernel'), undefined);
  });

  test('a disk without room and a missing runc are said, with what mends it', async (t) => {
    if (process.getuid?.() !== 0) return t.skip('mounts need root');
    const root = path.join(folder, 'full');
    const script = [
      'mount -t tmpfs -o size=64m tmpfs "$0" && mount --bind /dev/null "$(command -v runc)"',
      'exec "$1" doctor --node -o json',
    ];
    await mkdir(root);
    // In a mount namespace of its own, which ends with it.
    const { code, stdout } = await dray(
      ['--mount', 'sh', '-ec', script.join('\n'), root, launcher],
      { program: 'unshare', env: { ...env, DRAY_AGENT_ROOT: root } },
    );
    assert.equal(code, 1);
    const results = JSON.parse(stdout) as Result[];
    const of = (name: string) => results.find((each) => each.name === name);
    assert.match(of('disk')?.found ?? '', /64\.0 MiB free at .*full: too little for an image/);
    assert.equal(of('disk')?.state, 'failed');
    assert.equal(of('runc')?.state, 'failed');
    assert.equal(of('runc')?.hint, 'apt-get install runc');
  });

  test('people get a line each, and what to do below it', async () => {
    const { stdout, code } = await dray(['doctor'], {
      env: { ...env, REDIS_URL: 'redis://127.0.0.1:1' },
    });
    assert.equal(code, 1);
    assert.match(stdout, /^failed {3}redis +Redis at .*\n +→ Check that Redis runs there/m);
    assert.match(stdout, /^ok {7}store /m);
    assert.match(stdout, /\n5 failed/);
  });
});
