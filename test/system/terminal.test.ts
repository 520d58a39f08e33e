import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestDray } from '../support/dray.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { startOnTerminal, type TestTerminal } from '../support/terminal.ts';
import { until } from '../support/until.ts';
import { counting, followCounting } from './counting.ts';
import { type ShellFleet, startShellFleet } from './shell-fleet.ts';

const launcher = path.resolve(import.meta.dirname, '../../producer/cli/dray');
const canRun = process.getuid?.() === 0;

describe('containers on a real terminal', { concurrency: false }, () => {
  let fleet: ShellFleet;
  let cli: TestDray;
  let image: string;
  before(async () => {
    if (!canRun) return;
    fleet = await startShellFleet();
    ({ cli, image } = fleet);
  });
  after(async () => {
    if (!canRun) return;
    const { stdout } = await cli.dray('ps', '-aq');
    const ids = stdout.split('\n').filter(Boolean);
    if (ids.length > 0) await cli.dray('rm', '-f', ...ids);
    await fleet[Symbol.asyncDispose]();
  });
  const requireAll = (t: Parameters<typeof requireRoot>[0]) =>
    requireRoot(t) && requireTool(t, 'runc', 'conmon', 'busybox', 'redis-server');

  function terminal(...args: string[]): TestTerminal {
    return startOnTerminal(launcher, args, { env: cli.env, columns: 91, rows: 27 });
  }

  async function killAgent(): Promise<void> {
    const pid = Number(await readFile(path.join(cli.state, 'run', 'agent.ready'), 'utf8'));
    process.kill(pid, 'SIGKILL');
  }

  /** A shell with job control: its size, Ctrl-C, Ctrl-Z, fg, and a window that changes. */
  async function checkShell(screen: TestTerminal): Promise<void> {
    await screen.shows(/# $/);
    screen.type('stty size\r');
    await screen.shows(/\n27 91\r\n/);
    // What is to be interrupted says that it runs, and that it goes on: by then the keys are its own.
    const program = `sh -c 'trap "echo con\\tinued" CONT; echo be""gun; while :; do sleep 0.05; done'`;
    screen.type(`${program}\r`);
    await screen.shows(/\nbegun\r\n/);
    screen.type('\x03');
    await screen.shows(/\^C\r\n[^\n]*# $/);
    screen.type('echo $?\r');
    await screen.shows(/\n130\r\n/);
    screen.type(`${program}\r`);
    await screen.shows(/\nbegun\r\n/);
    screen.type('\x1a');
    await screen.shows(/Stopped +sh [^\n]*\r\n/);
    screen.type('fg\r');
    await screen.shows(/\ncontinued\r\n/);
    screen.type('\x03');
    await screen.shows(/\^C\r\n[^\n]*# $/);
    screen.resize(120, 40);
    // It is handed on through several programs.
    screen.type('until [ "$(stty size)" = "40 120" ]; do :; done; echo re""sized\r');
    await screen.shows(/\nresized\r\n/);
  }

  test('dray run -it: a shell; its exit code; the terminal is as it was afterwards', async (t) => {
    if (!requireAll(t)) return;
    const line = `stty -g; ${launcher} run -it --rm ${image}; echo code $?; stty -g`;
    using screen = startOnTerminal('sh', ['-c', line], { env: cli.env, columns: 91, rows: 27 });
    const before = await screen.shows(/[\da-f:]{40,}\r\n/);
    await checkShell(screen);
    screen.type('exit 5\r');
    await screen.shows(/code 5\r\n/);
    assert.equal(await screen.shows(/[\da-f:]{40,}\r\n/), before);
    assert.equal(await screen.ended, 0);
  });

  test('Ctrl-P Ctrl-Q leaves it running, dray attach comes back to it', async (t) => {
    if (!requireAll(t)) return;
    using first = terminal('run', '-it', '--name', 'left', image);
    await first.shows(/# $/);
    first.type('X=kept; echo ready\r');
    await first.shows(/\nready\r\n/);
    first.type('\x10\x11');
    await first.shows(/Container left runs on: dray attach left/);
    assert.equal(await first.ended, 0);

    using second = terminal('attach', 'left');
    second.type('echo $X\r');
    await second.shows(/kept\r\n/);
    // It is another for a moment, so that programs draw their screen.
    second.type('until [ "$(stty size)" = "27 91" ]; do :; done; echo si""zed\r');
    await second.shows(/\nsized\r\n/);
    second.type('exit 6\r');
    assert.equal(await second.ended, 6);
    assert.match((await cli.tryDray('attach', 'left')).stderr, /Container left is exited/);
  });

  test('a session of dray run -it outlives its agent', async (t) => {
    if (!requireAll(t)) return;
    using screen = terminal('run', '-it', '--rm', '--name', 'lasting', image);
    await screen.shows(/# $/);
    await killAgent();
    await screen.shows(/The agent went away; container lasting runs on/);
    await sleep(1500);
    screen.type('echo still $((40 + 2))\r');
    await screen.shows(/\nstill 42\r\n/);
    screen.type('exit 7\r');
    assert.equal(await screen.ended, 7);
  });

  test('dray exec -it: a shell; when its terminal closes, what runs there ends', async (t) => {
    if (!requireAll(t)) return;
    await cli.dray('run', '-d', '--name', 'base', image, 'sleep', '10000');
    using screen = terminal('exec', '-it', 'base', 'sh');
    await checkShell(screen);
    screen.type('exit 9\r');
    assert.equal(await screen.ended, 9);

    using closed = terminal('exec', '-it', 'base', 'sh');
    await closed.shows(/# $/);
    closed.type(`sh -c 'echo be""gun; exec sleep 4321'\r`);
    await closed.shows(/\nbegun\r\n/);
    const sleepers = async () =>
      (await cli.dray('exec', 'base', 'ps')).stdout.match(/sleep 4321/g)?.length ?? 0;
    for (const end = Date.now() + 60_000; (await sleepers()) !== 1; await sleep(50)) {
      assert.ok(Date.now() < end, 'the command runs');
    }
    closed[Symbol.dispose]();
    for (const end = Date.now() + 60_000; (await sleepers()) > 0; await sleep(50)) {
      assert.ok(Date.now() < end, 'the command ends');
    }
  });

  test('a paused container is among those that dray ps lists, and an exited one is not', async (t) => {
    if (!requireAll(t)) return;
    await cli.dray('run', '-d', '--name', 'frozen', image, 'sleep', '1000');
    const listed = async () => (await cli.dray('ps', '-q')).stdout.split('\n');
    await cli.dray('pause', 'frozen');
    assert.ok((await listed()).includes('frozen'));
    assert.match((await cli.dray('ps')).stdout, /^frozen .* paused /m);
    await cli.dray('unpause', 'frozen');
    await cli.dray('kill', 'frozen');
    await cli.dray('wait', 'frozen');
    assert.ok(!(await listed()).includes('frozen'));
    await cli.dray('rm', 'frozen');
  });

  test('dray manifest ends its line for a terminal alone', async (t) => {
    if (!requireAll(t)) return;
    using screen = terminal('manifest', image);
    await screen.shows(/\}\r\n$/);
    assert.equal(await screen.ended, 0);
    assert.match((await cli.dray('manifest', image)).stdout, /\}$/);
  });

  test('an agent that dies ends dray exec with a clear word', async (t) => {
    if (!requireAll(t)) return;
    using screen = terminal('exec', '-it', 'base', 'sh');
    await screen.shows(/# $/);
    await killAgent();
    await screen.shows(/dray: error: The agent at .* does not answer/);
    assert.equal(await screen.ended, 125);
    assert.equal((await cli.dray('exec', 'base', 'echo', 'up')).stdout, 'up\n');
  });

  test('dray run -i passes a pipe on, whole, and ends its input', async (t) => {
    if (!requireAll(t)) return;
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, n) => `${n}\n`).join(''));
    const child = spawn(launcher, ['run', '-i', '--rm', image, 'cat'], { env: cli.env });
    child.stdin.end(bytes);
    const [output] = await Promise.all([text(child.stdout), once(child, 'close')]);
    assert.equal(child.exitCode, 0);
    assert.ok(output === bytes.toString());
    const closed = await cli.dray('run', '--rm', image, 'sh', '-c', 'cat; echo end');
    assert.equal(closed.stdout, 'end\n');
  });

  test('dray logs -f has no gap when the agent is killed and replaced', async (t) => {
    if (!requireAll(t)) return;
    await cli.dray('run', '-d', '--name', 'ticker', image, ...counting);
    const followed = await followCounting(t, ['--tail', '1000', 'ticker'], cli.env);
    await killAgent();
    await until('a word of it', () => followed.said().includes('\n'));
    await followed.goesOn();
    await cli.dray('exec', 'ticker', 'touch', '/end');
    const lines = await followed.whole();
    assert.match(followed.said(), /The agent went away; container ticker runs on/);
    const last = lines.slice(-2).map((line) => `${line}\n`);
    assert.equal((await cli.dray('logs', '--tail', '2', 'ticker')).stdout, last.join(''));
    assert.equal((await cli.dray('logs', '--since', '1h', 'ticker')).stdout, followed.output());
    const stamped = await cli.dray('logs', '-t', '--tail', '1', 'ticker');
    assert.match(stamped.stdout, /^\d{4}-\d\d-\d\dT[\d:]+\.\d{9}Z \d+\n$/);
    assert.ok(stamped.stdout.endsWith(` ${last[1]}`));
  });
});
