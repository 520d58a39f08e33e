import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { type IPty, spawn } from '@lydell/node-pty';
import type { FleetView } from '../../../producer/cli/top/fleet-view.ts';
import { topFrame } from '../../../producer/cli/top/frame.ts';
import { loadConfig } from '../../../shared/config/load.ts';
import { enqueuePull } from '../../../shared/pull/accept.ts';
import { connectRedis } from '../../../shared/queue/connection.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { dray, launcher } from './dray.ts';

const pulls = 30;

describe('dray top', () => {
  let folder: string;
  let server: TestRedis;
  let env: NodeJS.ProcessEnv;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'dray-top-'));
    server = await startRedis();
    env = { REDIS_URL: server.url, DRAY_STATE: folder, DRAY_CONFIG: '', DRAY_STORE: '' };
    const config = loadConfig({ env });
    const redis = connectRedis(config.redis, { name: 'test' });
    for (let i = 0; i < pulls; i++) {
      await enqueuePull(config, redis, { reference: `registry.example/team/app:${i}`, nodes: [] });
    }
    redis.disconnect();
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  test('is printed once where nobody looks at a terminal', async () => {
    const { code, stdout } = await dray(['top'], { env });
    assert.equal(code, 0);
    assert.match(stdout, /^dray top {3}30 open pulls {3}0 workers {3}0 nodes/);
    assert.match(stdout, /^resolve +30 +0 +0 +0 +[\d.]+s +0$/m);
    assert.equal(stdout.match(/registry\.example\/team\/app:\d+$/gm)?.length, pulls);
    assert.equal(stripVTControlCharacters(stdout), stdout);
    const json = JSON.parse((await dray(['top', '-o', 'json'], { env })).stdout) as FleetView;
    assert.equal(json.pulls.length, pulls);
    assert.equal(json.queues[0]?.waiting, pulls);
  });

  test('fills a terminal of any size, and no more', async () => {
    const view = JSON.parse((await dray(['top', '-o', 'json'], { env })).stdout) as FleetView;
    for (const pull of view.pulls) pull.createdAt = new Date(pull.createdAt);
    const [first] = view.pulls;
    assert.ok(first);
    first.reference += '\x1b[2J';
    for (const [width, height] of [
      [40, 8],
      [60, 12],
      [80, 24],
      [89, 30],
      [200, 60],
    ] as const) {
      const common = { width, height, now: new Date(), place: 'redis://queue', keys: 'q quit' };
      const lines = topFrame(view, { ...common, color: true });
      const plain = lines.map((line) => stripVTControlCharacters(line));
      assert.equal(lines.length, height, `${width}x${height}`);
      assert.deepEqual(
        plain.filter((line) => line.length > width),
        [],
      );
      assert.equal(plain.at(-1), 'q quit');
      assert.ok(!lines.some((line) => line.includes('\x1b[2J')), 'a reference steers the terminal');
      const shown = plain.filter((line) => /^m\w{15}/.test(line)).length;
      if (shown > 0 && shown < pulls) {
        assert.ok(plain.includes(`… and ${pulls - shown} more`), plain.join('\n'));
      }
      assert.deepEqual(topFrame(view, { ...common, color: false }), plain);
      // What matters most is whole, where columns less do it.
      if (width >= 60) {
        assert.match(plain[2] ?? '', /^QUEUE .* WORKERS$/);
        assert.ok(
          shown === 0 || plain.some((line) => /registry\.example\/team\/app:\d+/.test(line)),
        );
      }
    }
  });

  test('lives in the terminal, says that Redis is away, and gives the terminal back', async () => {
    const terminal = start({ ...env, NO_COLOR: '1' });
    try {
      await terminal.until(/resolve +30 [\s\S]*team\/app:29[\s\S]*more[\s\S]*q quit/);
      assert.ok(terminal.raw().startsWith('\x1b[?1049h\x1b[?25l'), 'the alternate screen');
      for (const color of [31, 32, 33, 36]) {
        assert.ok(!terminal.raw().includes(`\x1b[${color}m`), 'NO_COLOR');
      }
      terminal.pty.resize(100, 50);
      await terminal.until(/team\/app:29[\s\S]*team\/app:0\b[\s\S]*q quit/);
      process.kill(server.pid(), 'SIGSTOP');
      try {
        await terminal.until(/does not answer/);
      } finally {
        process.kill(server.pid(), 'SIGCONT');
      }
      await terminal.until(/resolve +30 /);
      terminal.pty.write('q');
      assert.equal(await terminal.ended, 0);
      assert.ok(
        terminal.raw().endsWith('\x1b[?25h\x1b[?1049l'),
        JSON.stringify(terminal.raw().slice(-40)),
      );
    } finally {
      terminal.pty.kill();
    }
  });

  test('Ctrl-C and SIGTERM give the terminal back as well', async () => {
    for (const end of [
      (pty: IPty) => pty.write('\x03'),
      (pty: IPty) => process.kill(pty.pid, 'SIGTERM'),
    ]) {
      const terminal = start(env);
      try {
        await terminal.until(/q quit/);
        end(terminal.pty);
        await terminal.ended;
        assert.ok(terminal.raw().endsWith('\x1b[?25h\x1b[?1049l'));
      } finally {
        terminal.pty.kill();
      }
    }
  });
});

/** The command in a terminal of 24 rows. */
function start(env: NodeJS.ProcessEnv) {
  const pty = spawn(launcher, ['top', '--interval', '0.2'], {
    cols: 100,
    rows: 24,
    env: { ...process.env, ...env, TERM: 'xterm-256color' },
  });
  let all = '';
  let seen = '';
  pty.onData((data) => {
    all += data;
    seen += data;
  });
  const ended = new Promise<number>((resolve) => {
    pty.onExit(({ exitCode }) => resolve(exitCode));
  });
  return {
    pty,
    ended,
    raw: () => all,
    until: async (wanted: RegExp) => {
      for (let waited = 0; !wanted.test(stripVTControlCharacters(seen)); waited += 20) {
        assert.ok(
          waited < 60_000,
          `${wanted} does not come: ${stripVTControlCharacters(seen).slice(-2_000)}`,
        );
        await sleep(20);
      }
      seen = '';
    },
  };
}
