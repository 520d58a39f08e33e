import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecRequest, ExitMessage } from '../../../../shared/agent/exec.ts';
import { encodeControl, encodeFrames, type Frame } from '../../../../shared/agent/frames.ts';
import { DrayError } from '../../../../shared/errors.ts';
import { nap, untilRunning } from '../../../support/processes.ts';
import { until } from '../../../support/until.ts';
import { startTestAgent, type TestAgent } from './agent.ts';
import { heldRuntime } from './held-runtime.ts';
import { canRunContainers, imageName, requireContainers } from './node.ts';

/** A process in a container, as a caller of the API has it. */
interface Running {
  input: PassThrough;
  send: (text: string | Buffer) => void;
  /** All output so far. */
  text: (stream?: 'stdout' | 'stderr') => string;
  /** Waits until it wrote something. */
  wrote: (pattern: RegExp) => Promise<void>;
  /** @throws when the connection ended before the process did */
  ended: Promise<number>;
  drop: () => void;
}

async function exec(agent: TestAgent, request: ExecRequest, id = 'c'): Promise<Running> {
  const input = new PassThrough();
  const drop = new AbortController();
  const { signal } = drop;
  const frames = await agent.client.containers.exec(id, request, input, { signal });
  const output = { stdout: '', stderr: '' };
  const ended = read(frames, output);
  ended.catch(() => {});
  return {
    input,
    send: (text) => {
      for (const frame of encodeFrames('stdin', Buffer.from(text))) input.write(frame);
    },
    text: (stream = 'stdout') => plain(output[stream]),
    wrote: async (pattern) => {
      const what = () => `${pattern} in ${JSON.stringify(output.stdout)}`;
      await until(what, () => pattern.test(plain(output.stdout)));
    },
    ended,
    drop: () => drop.abort(),
  };
}

/** A shell asks the terminal where its cursor is, and moves it. */
const controlSequence = new RegExp(`${String.fromCharCode(27)}\\[[\\d;]*[a-zA-Z]`, 'g');
const plain = (text: string) => text.replaceAll(controlSequence, '');

async function read(
  frames: AsyncIterable<Frame>,
  output: Record<'stdout' | 'stderr', string>,
): Promise<number> {
  for await (const { kind, bytes } of frames) {
    const text = Buffer.from(bytes).toString();
    if (kind === 'control') return (JSON.parse(text) as ExitMessage).exit.exitCode;
    if (kind === 'stdin') continue;
    output[kind] += text;
  }
  throw new Error('the stream ended without an exit code');
}

const sh = (script: string, more: Partial<ExecRequest> = {}): ExecRequest => ({
  args: ['/bin/sh', '-c', script],
  ...more,
});

async function startSleeper(agent: TestAgent, id: string): Promise<void> {
  const options = { args: ['/bin/sh', '-c', 'sleep 1000'], env: ['GREETING=hello'] };
  await agent.client.containers.create({ id, image: imageName, options });
  await agent.client.containers.start(id);
}

const failsWith = (code: string, exitCode?: number) => (error: unknown) =>
  error instanceof DrayError &&
  error.code === code &&
  (exitCode === undefined || error.context.exitCode === exitCode);

/** Whether a runtime is, for a call of exec on an agent's root. */
async function isAtWork(root: string): Promise<boolean> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.some((line) => line.includes(`${root}/containers/`) && line.includes('/exec-'));
}

describe('exec', { concurrency: false }, () => {
  let agent: TestAgent;
  before(async () => {
    if (!canRunContainers()) return;
    agent = await startTestAgent();
    await startSleeper(agent, 'c');
  });
  after(async () => await agent?.[Symbol.asyncDispose]());

  test('input that a command does not read costs nobody its exit code', async (t) => {
    if (!requireContainers(t)) return;
    for (let round = 0; round < 5; round++) {
      const codes = [1, 2, 3, 4].map(async (code) => {
        const running = await exec(agent, sh(`exit ${code}`, { stdin: true }));
        // More than a socket holds: the rest is on its way while the process ends.
        running.send(Buffer.alloc(4 * 1024 * 1024));
        return await running.ended;
      });
      assert.deepEqual(await Promise.all(codes), [1, 2, 3, 4]);
    }
  });

  test('streams stay apart, input is whole, the exit code is the command’s', async (t) => {
    if (!requireContainers(t)) return;
    const plain = await exec(agent, sh('echo $GREETING; echo bad >&2; exit 7'));
    assert.equal(await plain.ended, 7);
    assert.deepEqual([plain.text(), plain.text('stderr')], ['hello\n', 'bad\n']);

    const piped = await exec(agent, sh('cat', { stdin: true }));
    const large = 'line of input\n'.repeat(400_000);
    piped.send(large);
    piped.input.write(encodeControl({ endInput: true }));
    assert.equal(await piped.ended, 0);
    assert.ok(piped.text() === large);

    const killed = await exec(agent, sh('sleep 100', { stdin: true }));
    killed.input.write(encodeControl({ signal: 'SIGTERM' }));
    assert.equal(await killed.ended, 143);
  });

  test('many at once, each with its own output and code; they begin and end while others run', async (t) => {
    if (!requireContainers(t)) return;
    await Promise.all(
      Array.from({ length: 12 }, async (_, n) => {
        const running = await exec(agent, sh(`echo ${n}; exit ${n}`));
        assert.equal(await running.ended, n);
        assert.equal(running.text(), `${n}\n`);
      }),
    );
  });

  test('user, folder and variables; rights are those of the container', async (t) => {
    if (!requireContainers(t)) return;
    const request = sh('id; pwd; echo $A $HOME; grep -E "CapEff|NoNewPrivs" /proc/self/status', {
      user: 'redis',
      workingDirectory: '/tmp',
      env: ['A=b'],
    });
    const running = await exec(agent, request);
    assert.equal(await running.ended, 0);
    assert.match(running.text(), /^uid=999\(redis\) gid=998\(redis\) groups=998\(redis\),1500/);
    assert.match(running.text(), /\n\/tmp\nb \/data\n/);
    assert.match(running.text(), /CapEff:\s*0+\nNoNewPrivs:\s*1\n/);
    const made = await exec(agent, sh('>/tmp/made; ls -l /tmp/made'));
    await made.ended;
    assert.match(made.text(), /^-rw-r--r-- /);
  });

  test('a command that is not there is 127, one that can’t be invoked 126', async (t) => {
    if (!requireContainers(t)) return;
    await assert.rejects(exec(agent, { args: ['nope'] }), failsWith('RUNTIME_FAILED', 127));
    await assert.rejects(exec(agent, { args: ['/etc'] }), failsWith('RUNTIME_FAILED', 126));
    assert.equal(await (await exec(agent, { args: ['/bin/broken'] })).ended, 126);
    const terminal = { columns: 80, rows: 24 };
    await assert.rejects(
      exec(agent, { args: ['nope'], terminal }),
      failsWith('RUNTIME_FAILED', 127),
    );
    await assert.rejects(exec(agent, sh('true', { user: 'nobody' })), failsWith('USER_UNKNOWN'));
    await assert.rejects(
      exec(agent, sh('true', { workingDirectory: '/proc/self/fd/3' })),
      failsWith('CONFIG_INVALID'),
    );
    await agent.client.containers.create({
      id: 'idle',
      image: imageName,
      options: { args: ['true'] },
    });
    await assert.rejects(exec(agent, sh('true'), 'idle'), failsWith('CONFLICT'));
    await assert.rejects(exec(agent, sh('true'), 'other'), failsWith('NOT_FOUND'));
  });

  test('a symlink of the image leads no user lookup out of it', async (t) => {
    if (!requireContainers(t)) return;
    const changed = await exec(
      agent,
      sh('cd /etc; busybox mv passwd kept; busybox ln -s /proc/1/root/etc/passwd passwd'),
    );
    assert.equal(await changed.ended, 0);
    await assert.rejects(exec(agent, sh('true', { user: 'daemon' })), DrayError);
    assert.equal(
      await (await exec(agent, sh('cd /etc; busybox rm passwd; busybox mv kept passwd'))).ended,
      0,
    );
  });

  test('a terminal: its size, echo, Ctrl-C; it is hung up when the caller is gone', async (t) => {
    if (!requireContainers(t)) return;
    const request: ExecRequest = {
      args: ['/bin/sh'],
      env: ['PS1=> '],
      stdin: true,
      terminal: { columns: 91, rows: 17 },
    };
    const running = await exec(agent, request);
    await running.wrote(/> $/);
    running.send('busybox stty size\r');
    await running.wrote(/stty size\r\n17 91\r\n> $/);
    running.input.write(encodeControl({ resize: { columns: 120, rows: 40 } }));
    // The runtime hands it on when it gets to it.
    running.send('until [ "$(busybox stty size)" = "40 120" ]; do :; done; echo re""sized\r');
    await running.wrote(/\nresized\r\n> $/);
    running.send(`sleep ${nap(1)}\r`);
    await untilRunning(1, 'sleep', nap(1));
    running.send('\x03');
    await running.wrote(/\^C\r\n> $/);
    running.send('echo $$ $(echo x)y\r');
    await running.wrote(/\n\d+ xy\r\n/);
    // One carriage return before a newline: not one more from each terminal on the way.
    assert.doesNotMatch(running.text(), /\r\r\n/);
    running.send(`exec sleep ${nap(2)}\r`);
    await untilRunning(1, 'sleep', nap(2));
    running.drop();
    await untilRunning(0, 'sleep', nap(2));
  });

  test('the window of a terminal has its size when the command begins, whatever that of the container', async (t) => {
    if (!requireContainers(t)) return;
    const options = {
      args: ['/bin/sh', '-c', 'busybox stty size; sleep 1000'],
      terminal: true,
      terminalSize: { columns: 33, rows: 11 },
    };
    await agent.client.containers.create({ id: 'window', image: imageName, options });
    await agent.client.containers.start('window');
    for (let columns = 91; columns < 106; columns++) {
      const terminal = { columns, rows: 17 };
      const args = ['/bin/sh', '-c', 'printf %s "$(busybox stty size)"'];
      const asked = await exec(agent, { args, terminal }, 'window');
      assert.equal(await asked.ended, 0);
      assert.equal(asked.text(), `17 ${columns}`);
    }
    const { output } = await agent.client.containers.logs('window');
    const [first] = await Array.fromAsync(output);
    assert.equal(Buffer.from(first?.bytes ?? []).toString(), '11 33\r\n');
    await agent.client.containers.remove('window', { force: true });
  });

  test('of sizes that come while the monitor is busy the last one counts', async (t) => {
    if (!requireContainers(t)) return;
    const options = { args: ['/bin/sh'], env: ['PS1=> '], terminal: true, stdin: true };
    const { containers } = agent.client;
    await containers.create({ id: 'busy', image: imageName, options });
    await containers.start('busy');
    const bundles = path.join(agent.root, 'containers');
    const bundle = (await readdir(bundles)).find((name) => name.startsWith('busy-')) ?? '';
    const pidFile = path.join(bundles, bundle, 'conmon.pid');
    const monitor = Number(await readFile(pidFile, 'utf8'));
    const input = new PassThrough();
    const { output } = await containers.logs('busy', { follow: true });
    await containers.input('busy', input);
    process.kill(monitor, 'SIGSTOP');
    try {
      for (const columns of [80, 81, 82]) {
        input.write(encodeControl({ resize: { columns, rows: 30 } }));
        await sleep(100);
      }
    } finally {
      process.kill(monitor, 'SIGCONT');
    }
    const script = 'until [ "$(busybox stty size)" = "30 82" ]; do sleep 0.05; done; exit 6\r';
    for (const frame of encodeFrames('stdin', Buffer.from(script))) input.write(frame);
    const { exitCode } = await containers.wait('busy', { signal: AbortSignal.timeout(60_000) });
    assert.equal(exitCode, 6);
    await Array.fromAsync(output);
    await containers.remove('busy');
  });

  test('files of a call that an agent died in are swept, but not while its runtime is at work', async (t) => {
    if (!requireContainers(t)) return;
    const held = await heldRuntime(agent.root, 'exec');
    const options = { args: ['sleep', '1000'], runtime: held.program };
    await agent.client.containers.create({ id: 'held', image: imageName, options });
    await agent.client.containers.start('held');
    const lost = exec(agent, sh('true', { detach: true }), 'held');
    lost.catch(() => {});
    await held.reached();
    const bundles = path.join(agent.root, 'containers');
    const folders = async () => {
      const bundle = (await readdir(bundles)).find((name) => name.startsWith('held-')) ?? '';
      const names = await readdir(path.join(bundles, bundle));
      return names.filter((name) => name.startsWith('exec-')).length;
    };
    for (let restart = 0; restart < 2; restart++) {
      await agent.kill();
      await agent.start();
      assert.equal(await folders(), 1);
    }
    await assert.rejects(lost, failsWith('AGENT_UNAVAILABLE'));
    await held.letGo();
    await until('that the runtime has ended', async () => !(await isAtWork(agent.root)));
    await agent.kill();
    await agent.start();
    assert.equal(await folders(), 0);
    await agent.client.containers.remove('held', { force: true });
  });

  test('who leaves a process without a terminal ends its input, not the process', async (t) => {
    if (!requireContainers(t)) return;
    const running = await exec(
      agent,
      sh('cat >/dev/null; busybox yes | busybox head -100000; echo done >/tmp/done', {
        stdin: true,
      }),
    );
    running.send('begun');
    running.drop();
    const look = sh('while ! cat /tmp/done 2>/dev/null; do sleep 0.05; done');
    const seen = await exec(agent, look);
    assert.equal(await seen.ended, 0);
  });

  test('an agent that dies: callers are told, the container runs on, a terminal is hung up', async (t) => {
    if (!requireContainers(t)) return;
    const piped = await exec(agent, sh('cat', { stdin: true }));
    const terminal = { columns: 80, rows: 24 };
    const screen = await exec(agent, { args: ['sleep', nap(3)], stdin: true, terminal });
    const detached = await exec(agent, sh(`exec sleep ${nap(4)}`, { detach: true }));
    assert.equal(await detached.ended, 0);
    await agent.kill();
    await assert.rejects(piped.ended, failsWith('AGENT_UNAVAILABLE'));
    await assert.rejects(screen.ended, failsWith('AGENT_UNAVAILABLE'));
    await untilRunning(0, 'sleep', nap(3));
    await agent.start();
    assert.equal((await agent.client.containers.inspect('c')).state, 'running');
    await untilRunning(1, 'sleep', nap(4));
    assert.equal(await (await exec(agent, sh('exit 4'))).ended, 4);
  });
});
