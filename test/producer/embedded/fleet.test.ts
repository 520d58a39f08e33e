import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { isAlive, readPidFile } from '../../../producer/embedded/process-identity.ts';
import { requireRoot, requireTool } from '../../support/requirements.ts';
import { until } from '../../support/until.ts';
import { dray } from '../cli/dray.ts';

interface StatusDocument {
  parts: { name: string; state: string; pid?: number; healthy: boolean }[];
}

describe('the embedded fleet', { concurrency: false }, () => {
  let folder: string;
  let state: string;
  let env: NodeJS.ProcessEnv;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'dray-up-'));
    state = path.join(folder, 'state');
    env = { DRAY_STATE: state };
  });
  afterEach(async () => {
    await dray(['down'], { env });
    assert.deepEqual(await programsOf(state), []);
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  async function status(): Promise<StatusDocument> {
    return JSON.parse((await dray(['status', '-o', 'json'], { env })).stdout) as StatusDocument;
  }

  async function pidOf(name: string): Promise<number> {
    const { parts } = await status();
    const pid = parts.find((part) => part.name === name)?.pid;
    assert.ok(pid !== undefined, `${name} runs`);
    return pid;
  }

  /** Kills parts, and waits until they are gone: a killed process still runs for a moment on a busy machine. */
  async function kill(...names: string[]): Promise<void> {
    const identities = names.map((name) => readPidFile(path.join(state, 'run', `${name}.pid`)));
    for (const identity of identities) process.kill(identity?.pid ?? assert.fail(), 'SIGKILL');
    await until(
      () => `the end of ${names}`,
      () => identities.every((identity) => identity !== undefined && !isAlive(identity)),
    );
  }

  test('up, status and down', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'redis-server', 'runc')) return;
    const started = await dray(['up'], { env });
    assert.deepEqual(started, {
      code: 0,
      stdout: '',
      stderr: `started the embedded fleet (redis, worker, agent) in ${state}; stop it with: dray down\n`,
    });
    assert.match((await dray(['up'], { env })).stderr, /^the embedded fleet is up already/);
    const shown = await dray(['status'], { env });
    assert.equal(shown.code, 0);
    assert.match(shown.stdout, /^PART +STATE +PID +STARTED +HEALTH$/m);
    assert.match(shown.stdout, /^redis +running +\d+ +\d+ s ago +PONG in [\d.]+ ms$/m);
    assert.match(shown.stdout, /^agent +running .* takes jobs, node /m);
    assert.deepEqual(
      (await status()).parts.map(({ name, healthy }) => [name, healthy]),
      [
        ['redis', true],
        ['worker', true],
        ['agent', true],
      ],
    );
    const stopped = await dray(['down'], { env });
    assert.equal(stopped.code, 0);
    assert.match(stopped.stderr, /^stopped the embedded fleet \(agent, worker, redis\) in /);
    assert.equal((await dray(['status'], { env })).code, 1);
    assert.match((await dray(['down'], { env })).stderr, /^the embedded fleet is not running$/m);
  });

  test('commands at once share one fleet, the first that needs it starts it', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'redis-server', 'runc')) return;
    const ended = await Promise.all(
      [['up'], ['ps'], ['pulls'], ['up']].map((args) => dray(args, { env })),
    );
    assert.deepEqual(
      ended.map(({ code }) => code),
      [0, 0, 0, 0],
    );
    const said = ended.filter(({ stderr }) => stderr.includes('started the embedded fleet'));
    assert.equal(said.length, 1, 'one of them says that it has started it');
    assert.equal((await programsOf(state)).length, 3);
  });

  test('a part that was killed is started again by the next command', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'redis-server', 'runc')) return;
    await dray(['up'], { env });
    for (const name of ['redis', 'worker', 'agent']) {
      const before = await pidOf(name);
      await kill(name);
      const { code, stderr } = await dray(['pulls'], { env });
      assert.equal(code, 0, stderr);
      assert.match(stderr, new RegExp(`^started ${name} of the embedded fleet again in `));
      assert.notEqual(await pidOf(name), before);
      assert.equal((await programsOf(state)).length, 3);
    }
    await kill('redis', 'worker', 'agent');
    assert.match((await dray(['ps'], { env })).stderr, /^started the embedded fleet \(redis/);
  });

  test('it starts after a power cut that left zero bytes where commands were to be', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'redis-server', 'runc')) return;
    await dray(['up'], { env });
    const folder = path.join(state, 'redis', 'appendonlydir');
    const name = (await readdir(folder)).find((each) => each.endsWith('.incr.aof'));
    const file = path.join(folder, name ?? assert.fail());
    for (const place of ['at the end', 'before the last bytes']) {
      await dray(['down'], { env });
      const whole = await readFile(file);
      const hole = Buffer.alloc(5_000);
      const after = place === 'at the end' ? [] : [whole.subarray(-100)];
      await writeFile(file, Buffer.concat([whole.subarray(0, -107), hole, ...after]));
      const { code, stderr } = await dray(['up'], { env });
      assert.equal(code, 0, `${place}: ${stderr}`);
      assert.equal((await readFile(file)).includes(hole), false, place);
      assert.equal(
        (await status()).parts.every(({ healthy }) => healthy),
        true,
      );
    }
  });

  test('the fleet stops at once when its Redis has died', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'redis-server', 'runc')) return;
    await dray(['up'], { env });
    await kill('redis');
    assert.match((await dray(['down'], { env })).stderr, /^stopped .*\(agent, worker\)/);
    for (const name of ['worker', 'agent']) {
      const log = await readFile(path.join(state, 'log', `${name}.log`), 'utf8');
      assert.doesNotMatch(log, /could not hand back/);
    }
  });

  test('who may not look at the fleet is told so, not that it has stopped', async (t) => {
    if (!requireRoot(t)) return;
    const run = path.join(state, 'run');
    await mkdir(run, { recursive: true });
    await chmod(run, 0o700);
    await chmod(folder, 0o755);
    for (const command of ['status', 'down', 'pulls']) {
      const { code, stdout, stderr } = await dray([command], { env, uid: 65534 });
      assert.equal(code, 1);
      assert.equal(stdout, '');
      assert.match(stderr, /^dray: error: The embedded fleet belongs to root: .*\n {2}hint: /);
    }
  });

  test("another's process under a pid of ours is left alone", async (t) => {
    if (!requireRoot(t)) return;
    await mkdir(path.join(state, 'run'), { recursive: true });
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const file = path.join(state, 'run', 'worker.pid');
    await writeFile(file, `${process.pid} 1 ${boot}\n`);
    const identity = readPidFile(file);
    assert.equal(identity?.pid, process.pid);
    assert.ok(identity !== undefined && !isAlive(identity));
    assert.match((await dray(['down'], { env })).stderr, /not running/);
  });

  test('a fleet that can not start says why, and leaves nothing running', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'redis-server', 'runc')) return;
    const file = path.join(folder, 'a-file');
    await writeFile(file, '');
    const { code, stderr } = await dray(['up'], {
      env: { ...env, DRAY_STORE: `folder:${file}/content` },
    });
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^dray: error: The (worker|agent) of the embedded fleet ended while it started/,
    );
    assert.match(stderr, /a-file\/content/);
    assert.match(stderr, /^ {2}hint: Its whole log is .*\.log$/m);
    assert.deepEqual(await programsOf(state), []);
  });

  test('a missing redis-server is named, with what to do', async (t) => {
    if (!requireRoot(t)) return;
    const bin = path.join(folder, 'bin');
    await mkdir(bin);
    await symlink('/usr/bin/dirname', path.join(bin, 'dirname'));
    const { code, stderr } = await dray(['up'], { env: { ...env, PATH: bin } });
    assert.equal(code, 1);
    assert.match(
      stderr,
      /needs redis-server, which is not installed\n {2}hint: Run deploy\/setup\.sh/,
    );
    assert.deepEqual(await programsOf(state), []);
  });

  test('who is not root is told so, and makes nothing', async (t) => {
    if (!requireRoot(t)) return;
    const place = path.join(folder, 'nobody');
    const { code, stderr } = await dray(['up'], { env: { DRAY_STATE: place }, uid: 65534 });
    assert.equal(code, 1);
    assert.match(stderr, /this is not root\n {2}hint: Run dray with sudo/);
    assert.ok(!(await readdir(folder)).includes('nobody'));
  });

  test('a state folder too deep for a socket is refused', async () => {
    const deep = path.join(folder, 'x'.repeat(100));
    const { code, stderr } = await dray(['up'], { env: { DRAY_STATE: deep } });
    assert.equal(code, 2);
    assert.match(stderr, /107 is the most\n {2}hint: Set DRAY_STATE/);
  });

  test('there is nothing to start or stop where a Redis is configured', async () => {
    for (const verb of ['up', 'down']) {
      const { code, stderr } = await dray([verb], {
        env: { ...env, REDIS_URL: 'redis://localhost:1' },
      });
      assert.equal(code, 2);
      assert.match(stderr, /There is no embedded fleet here/);
    }
  });
});

/** Processes that belong to the fleet of a state folder: they stand for it by their environment or their name. */
async function programsOf(state: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [command = '', environment = ''] = await Promise.all(
      ['cmdline', 'environ'].map((name) =>
        readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => ''),
      ),
    );
    const isRedis = command.includes(`${state}/redis`);
    const isProgram = command.includes('/main.ts') && environment.includes(`DRAY_STATE=${state}\0`);
    if (isRedis || (isProgram && !command.includes('/producer/cli/')))
      found.push(command.replaceAll('\0', ' '));
  }
  return found;
}
