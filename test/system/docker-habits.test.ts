import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, type TestContext, test } from 'node:test';
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
      const options = ['--rm', '--name', name, '--runtime', held.program];
      // It ignores SIGINT, as the first process of a container.
      const args = ['run', ...options, image, 'sh', '-c', 'echo ready; exec sleep 1000'];
      using screen = startOnTerminal(launcher, args, { env: cli.env });
      await held.reached();
      screen.type('\x03');
      await screen.shows(/\^C/);
      if (name === 'twice') {
        screen.type('\x03');
        assert.equal(await screen.ended, 130);
        await held.letGo();
      } else {
        await held.letGo();
        await screen.shows(/ready/);
        screen.type('\x03');
        assert.equal(await screen.ended, 137, 'it is the second that was passed on, which kills');
      }
      await until('that it is gone', async () => (await ids()).length === 0);
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
