import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestDray } from '../support/dray.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { startOnTerminal } from '../support/terminal.ts';
import { until } from '../support/until.ts';
import { heldRuntime } from '../worker/agent/containers/held-runtime.ts';
import { type ShellFleet, startShellFleet } from './shell-fleet.ts';

const launcher = path.resolve(import.meta.dirname, '../../producer/cli/dray');

describe('what people are used to from docker', { concurrency: false }, () => {
  let fleet: ShellFleet;
  let cli: TestDray;
  let image: string;
  const canRun = process.getuid?.() === 0;
  before(async () => {
    if (!canRun) return;
    fleet = await startShellFleet();
    ({ cli, image } = fleet);
  });
  after(async () => {
    if (!canRun) return;
    const left = await ids();
    if (left.length > 0) await cli.dray('rm', '-f', ...left);
    await fleet[Symbol.asyncDispose]();
  });
  const requireAll = (t: TestContext) =>
    requireRoot(t) && requireTool(t, 'runc', 'conmon', 'busybox', 'redis-server');
  const ids = async () => (await cli.dray('ps', '-aq')).stdout.split('\n').filter(Boolean);

  test('create, cp, start -a and -ai, volume create, rm -fv of what is not there', async (t) => {
    if (!requireAll(t)) return;
    const line = 'echo begun; cat; exit 4';
    await cli.dray('create', '-i', '--name', 'job', '-v', 'data:/data:z', image, 'sh', '-c', line);
    assert.match((await cli.dray('ps', '-a')).stdout, /^job .* created /m);
    const copied = await cli.dray('cp', 'job:/etc/group', '-');
    assert.match(copied.stdout, /extra:x:1500:alice/);
    for (const input of ['one\n', 'two\n']) {
      const child = spawn(launcher, ['start', '-ai', 'job'], { env: cli.env });
      child.stdin.end(input);
      const [stdout] = await Promise.all([text(child.stdout), once(child, 'close')]);
      assert.deepEqual([stdout, child.exitCode], [`begun\n${input}`, 4]);
    }
    assert.equal((await cli.dray('logs', 'job')).stdout, 'begun\none\nbegun\ntwo\n');
    const several = await cli.tryDray('start', '-a', 'job', 'job');
    assert.equal(several.exitCode, 2);
    assert.equal((await cli.dray('volume', 'create', 'data')).stdout, 'data\n');
    await cli.dray('rm', '-fv', 'job');
    const gone = await cli.dray('rm', '-f', 'job');
    assert.match(gone.stderr, /There is no container job/);
    await cli.dray('volume', 'rm', 'data');
    assert.equal((await cli.tryDray('rm', 'job')).exitCode, 1);
  });

  test('--env-file is for the container alone, also what Node would take for its own', async (t) => {
    if (!requireAll(t)) return;
    const file = path.join(cli.state, 'env');
    await writeFile(file, 'NODE_OPTIONS=--require ./not-there.js\nDRAY_STATE=/elsewhere\n');
    const { stdout } = await cli.dray('run', '--rm', '--env-file', file, image, 'env');
    assert.match(stdout, /^NODE_OPTIONS=--require \.\/not-there\.js\nDRAY_STATE=\/elsewhere$/m);
    await cli.dray('run', '-d', '--name', 'env', image, 'sleep', '1000');
    const inside = ['-e', 'DRAY_STATE=here', '--env-file', file, 'env', 'env'];
    assert.match((await cli.dray('exec', ...inside)).stdout, /^DRAY_STATE=here$/m);
    await cli.dray('rm', '-f', 'env');
    const missing = await cli.tryDray('run', '--env-file', `${file}-none`, image, 'env');
    assert.equal(missing.exitCode, 125);
    assert.match(missing.stderr, /--env-file .*-none can't be read/);
    const hosts = ['--add-host', 'one:1.2.3.4', '--add-host=two=5.6.7.8'];
    const found = await cli.dray('run', '--rm', ...hosts, image, 'cat', '/etc/hosts');
    assert.match(found.stdout, /^1\.2\.3\.4\tone\n5\.6\.7\.8\ttwo$/m);
    const search = ['--dns-search', 'a.example', '--dns-search', 'b.example'];
    const names = await cli.dray('run', '--rm', ...search, image, 'cat', '/etc/resolv.conf');
    const lines = names.stdout.split('\n').filter((line) => /^(search|domain)/.test(line));
    assert.deepEqual(lines, ['search a.example b.example']);
    const node = await readFile('/etc/resolv.conf', 'utf8');
    const servers = (text: string) => text.match(/^nameserver .*$/gm);
    assert.deepEqual(servers(names.stdout), servers(node), 'which are reached by the network host');
  });

  test('a limit that is too low for the runtime itself is an error that says so', async (t) => {
    if (!requireAll(t)) return;
    for (const limit of ['nofile=1', 'as=100000']) {
      const refused = await cli.tryDray('run', '--rm', '--ulimit', limit, image, 'true');
      assert.equal(refused.exitCode, 125);
      const said = new RegExp(
        `its limit ${limit} is too low for the runtime.*\n  hint: Raise --ulimit`,
      );
      assert.match(refused.stderr, said);
    }
    const enough = ['--ulimit', 'nofile=64', image, 'sh', '-c', 'ulimit -n'];
    assert.equal((await cli.dray('run', '--rm', ...enough)).stdout, '64\n');
  });

  test('run --cidfile writes the id to a new file, which goes where no container is left', async (t) => {
    if (!requireAll(t)) return;
    const file = path.join(cli.state, 'cid');
    const run = (...args: string[]) => cli.tryDray('run', '--cidfile', file, ...args);
    await run('-d', '--name', 'first', image, 'sleep', '1000');
    assert.equal(await readFile(file, 'utf8'), 'first');
    const again = await run('-d', '--name', 'second', image, 'sleep', '1000');
    assert.deepEqual([again.exitCode, await ids()], [125, ['first']]);
    assert.match(again.stderr, /--cidfile: .*cid is there already/);
    await rm(file);
    assert.equal((await run('--rm', image, 'not-there')).exitCode, 127);
    await assert.rejects(readFile(file), { code: 'ENOENT' });
    assert.equal((await run('--name', 'second', image, 'not-there')).exitCode, 127);
    assert.equal(await readFile(file, 'utf8'), 'second');
    await rm(file);
    await cli.dray('create', '--cidfile', file, image);
    await cli.dray('rm', '-f', 'first', 'second', await readFile(file, 'utf8'));
  });

  test('run --init: it passes signals on and reaps; the exit codes are those without it', async (t) => {
    if (!requireAll(t) || !requireTool(t, 'catatonit')) return;
    // Its child becomes an orphan, and then a zombie that nobody but an init waits for.
    const orphan = '(sleep 0.1 &); exec sleep 1000';
    await cli.dray(
      'run',
      '-d',
      '--init',
      '--read-only',
      '--name',
      'init',
      image,
      'sh',
      '-c',
      orphan,
    );
    const inside = async () => (await cli.dray('exec', 'init', 'ps', '-o', 'args')).stdout;
    assert.match(await inside(), /^\/sbin\/dray-init -- sh -c/m);
    await until(
      'that the orphan is reaped',
      async () => !/^sleep 0\.1$|\[sleep\]/m.test(await inside()),
    );
    assert.match((await cli.dray('ps')).stdout, /^init .* sh -c \(sleep 0\.1/m);
    await cli.dray('stop', '-t', '1000', 'init');
    assert.equal((await cli.dray('wait', 'init')).stdout, '143\n');
    await cli.dray('rm', 'init');
    for (const [command, code] of [
      ['not-there', 127],
      ['/etc/passwd', 126],
    ] as const) {
      const refused = await cli.tryDray('run', '--rm', '--init', image, command);
      assert.equal(refused.exitCode, code, refused.stderr);
    }
  });

  test('run --tmpfs with an owner and a mode', async (t) => {
    if (!requireAll(t)) return;
    const mount = ['--tmpfs', '/own:uid=1000,gid=1001,mode=750,size=1m', '-u', 'alice'];
    const script = 'stat -c "%u %g %a" /own; touch /own/file && df -k /own | tail -1';
    const { stdout } = await cli.dray('run', '--rm', ...mount, image, 'sh', '-c', script);
    assert.match(stdout, /^1000 1001 750\ntmpfs +1024 /);
  });

  test('ps finds by --filter, -n and -l; docker templates are refused with what does the same', async (t) => {
    if (!requireAll(t)) return;
    const named = (name: string, ...args: string[]) =>
      cli.dray('run', '-d', '--name', name, ...args);
    await named('web-1', '-l', 'app=web', '-l', 'tier=front', image, 'sleep', '1000');
    await named('web-2', '-l', 'app=web', image, 'sleep', '1000');
    await cli.tryDray('run', '--name', 'job', '-l', 'app=job', image, 'sh', '-c', 'exit 3');
    const found = async (...args: string[]) =>
      (await cli.dray('ps', '-q', ...args)).stdout.split('\n').filter(Boolean);
    const filter = (...texts: string[]) => found(...texts.flatMap((text) => ['-f', text]));
    assert.deepEqual(await filter('label=app=web'), ['web-1', 'web-2']);
    assert.deepEqual(await filter('label=app=web', 'label=tier'), ['web-1']);
    assert.deepEqual(await filter('name=^web', 'name=job'), ['web-1', 'web-2']);
    assert.deepEqual(await filter('id=web-2', `ancestor=${image}`), ['web-2']);
    assert.deepEqual(await filter('status=exited', 'status=created'), ['job']);
    assert.deepEqual([await filter('exited=3'), await filter('exited=0')], [['job'], []]);
    assert.deepEqual(await filter('health=none', 'network=bridge'), []);
    assert.deepEqual([await found('-n', '2'), await found('-l')], [['web-2', 'job'], ['job']]);
    const wrong = await cli.tryDray('ps', '-f', 'status=dead');
    assert.deepEqual([wrong.exitCode, wrong.stdout], [2, '']);
    assert.match(wrong.stderr, /no status "dead"\n {2}hint: Choose one of .*exited/);
    const template = await cli.tryDray('inspect', '-f', '{{.State.Status}} {{.Name}}', 'job');
    assert.equal(template.exitCode, 2);
    assert.match(template.stderr, /hint: dray inspect ID \| jq -r '\.\[\] \| \.id, \.state'/);
    await cli.dray('rm', '-f', 'web-1', 'web-2', 'job');
  });

  test('stop goes on with the next agent when its own dies, and asks once', async (t) => {
    if (!requireAll(t)) return;
    const line =
      'trap "echo asked" TERM; echo ready; until [ -e /end ]; do sleep 0.05; done; exit 5';
    await cli.dray('run', '-d', '--name', 'slow', image, 'sh', '-c', line);
    const logged = async () => (await cli.dray('logs', 'slow')).stdout;
    await until('that it is ready', async () => (await logged()) === 'ready\n');
    const child = spawn(launcher, ['stop', '-t', '1000', 'slow'], { env: cli.env });
    let said = '';
    child.stderr.on('data', (bytes) => {
      said += String(bytes);
    });
    const [stdout, closed] = [text(child.stdout), once(child, 'close')];
    await until('that it was asked', async () => (await logged()) === 'ready\nasked\n');
    assert.match((await cli.dray('ps')).stdout, /^slow .* \(stopping\) /m);
    process.kill(
      Number(await readFile(path.join(cli.state, 'run', 'agent.ready'), 'utf8')),
      'SIGKILL',
    );
    await until('a word of it', () => /The agent went away/.test(said));
    await cli.dray('exec', 'slow', 'touch', '/end');
    await closed;
    assert.deepEqual([child.exitCode, await stdout], [0, 'slow\n'], said);
    assert.equal(await logged(), 'ready\nasked\n');
    assert.match((await cli.dray('ps', '-a')).stdout, /^slow .* exited \(5\)/m);
    await cli.dray('rm', 'slow');
  });

  test('what docker does in another way is met with what to do here', async (t) => {
    if (!requireAll(t)) return;
    const refused: [string[], number, RegExp][] = [
      [['rmi', image], 2, /unknown command 'rmi'\n {2}hint: dray images rm REF/],
      [['container', 'ls'], 2, /hint: The verbs of containers stand alone: dray ps/],
      [['run', '--rm=true', image], 125, /hint: It takes no value: write --rm/],
      [['inspect', image], 2, /hint: Of an image: dray config /],
      [['run', '--rm', '--dns', 'here', image, 'true'], 125, /--dns "here" is not an address/],
      [['run', '--rm', '-v', '/etc/passwd:/etc', image, 'true'], 125, /one is a file, the other/],
      [
        ['run', '--rm', '--sysctl', 'kernel.shmmax=much', image, 'true'],
        125,
        /the kernel refused the setting kernel\.shmmax/,
      ],
    ];
    for (const [args, exitCode, message] of refused) {
      const ended = await cli.tryDray(...args);
      assert.equal(ended.exitCode, exitCode, args.join(' '));
      assert.match(ended.stderr, message);
    }
    const unlimited = ['-m', '0', '--cpus', '0', '--cpu-shares', '0', '--shm-size', '0'];
    await cli.dray('run', '--rm', ...unlimited, '--memory-swap', '0', image, 'true');
    await cli.dray('run', '-d', '--name', 'here', image, 'sleep', '1000');
    assert.equal((await cli.dray('start', 'here')).stdout, 'here\n');
    const some = await cli.tryDray('inspect', 'here', 'gone');
    assert.equal(some.exitCode, 1);
    assert.match(some.stderr, /There is no container gone/);
    const [found] = JSON.parse(some.stdout) as { id: string }[];
    assert.equal(found?.id, 'here');
    await cli.dray('rm', '-f', 'here');
  });

  test('run --pull never takes what is there, and asks no registry for what is not', async (t) => {
    if (!requireAll(t)) return;
    await cli.dray('run', '--rm', '--pull', 'never', image, 'true');
    const { registry } = fleet;
    const before = (await registry.accessLog()).length;
    const missing = await cli.tryDray('run', '--pull', 'never', `${registry.host}/other:v1`);
    assert.deepEqual([missing.exitCode, (await registry.accessLog()).length], [125, before]);
    assert.match(missing.stderr, /There is no image/);
  });

  test('Ctrl-C while a container starts is passed on once it runs; a second one ends dray run, and nothing runs', async (t) => {
    if (!requireAll(t)) return;
    for (const name of ['once', 'twice']) {
      const held = await heldRuntime(cli.state, 'start', name);
      const cidFile = path.join(cli.state, `cid-${name}`);
      const own = ['--name', name, '--cidfile', cidFile];
      const options = ['--rm', ...own, '--runtime', held.program];
      // It ignores SIGINT, as the first process of a container.
      const args = ['run', ...options, image, 'sh', '-c', 'echo ready; exec sleep 1000'];
      using screen = startOnTerminal(launcher, args, { env: cli.env });
      await held.reached();
      screen.type('\x03');
      await screen.shows(/\^C/);
      if (name === 'twice') {
        const ended = screen.ended.then(() => true);
        // Two that come before the process gets to the first are one signal.
        do screen.type('\x03');
        while (!(await Promise.race([ended, sleep(200)])));
        assert.equal(await screen.ended, 130);
        await held.letGo();
      } else {
        await held.letGo();
        await screen.shows(/ready/);
        screen.type('\x03');
        assert.equal(await screen.ended, 137, 'it is the second that was passed on, which kills');
      }
      await until('that it is gone', async () => (await ids()).length === 0);
      assert.equal(existsSync(cidFile), name === 'once', 'it names what has run');
    }
  });

  test('run -t without -i passes Ctrl-C on', async (t) => {
    if (!requireAll(t)) return;
    const line = 'trap "echo interrupted; exit 7" INT; echo ready; while :; do sleep 0.05; done';
    const args = ['run', '-t', '--rm', image, 'sh', '-c', line];
    using screen = startOnTerminal(launcher, args, { env: cli.env });
    await screen.shows(/ready/);
    screen.type('\x03');
    await screen.shows(/interrupted/);
    assert.equal(await screen.ended, 7);
  });
});
