import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, type TestContext, test } from 'node:test';
import { createToken } from '../../shared/access/tokens.ts';
import { type Authority, makeAuthority } from '../support/authority.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import { keepSecret, listeningAgent } from '../support/listening-agent.ts';
import { nap, untilRunning } from '../support/processes.ts';
import type { TestProgram } from '../support/programs.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { pushShellImage } from '../support/shell-image.ts';
import { startOnTerminal } from '../support/terminal.ts';
import { counting, followCounting } from './counting.ts';

const launcher = path.resolve(import.meta.dirname, '../../producer/cli/dray');
const canRun = process.getuid?.() === 0;
const requireAll = (t: TestContext) =>
  requireRoot(t) &&
  requireTool(t, 'runc', 'conmon', 'catatonit', 'busybox', 'redis-server', 'openssl');

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

describe('containers on other nodes', { concurrency: false }, () => {
  let registry: TestRegistry;
  let authority: Authority;
  let fleet: TestFleet;
  let settings: Record<'node-a' | 'node-b', NodeJS.ProcessEnv>;
  let agents: Record<'node-a' | 'node-b', TestProgram>;
  let image: string;
  /** Of a person whose machine is none of the nodes. */
  let env: NodeJS.ProcessEnv;
  let tokens: Record<'read' | 'run', string>;

  before(async () => {
    if (!canRun) return;
    registry = await startRegistry();
    fleet = await startFleet();
    authority = await makeAuthority('agents');
    image = (await pushShellImage(registry.host)).reference;
    await fleet.startWorker('worker');
    const file = (name: string, content: string) => keepSecret(fleet, name, content);
    const tokenFile = path.join(fleet.folder, 'tokens.json');
    const make = async (scope: 'read' | 'run') =>
      await file(scope, `${await createToken(tokenFile, { name: scope, scopes: [scope] })}\n`);
    tokens = { read: await make('read'), run: await make('run') };
    const ca = await file('ca.pem', authority.certificate);
    // One wants a token, the other a certificate.
    settings = {
      'node-a': {
        ...(await listeningAgent(fleet, authority, 'node-a')),
        DRAY_API_TOKENS: tokenFile,
      },
      'node-b': {
        ...(await listeningAgent(fleet, authority, 'node-b')),
        DRAY_AGENT_CLIENT_CA: ca,
      },
    };
    agents = {
      'node-a': await fleet.startAgent('node-a', settings['node-a']),
      'node-b': await fleet.startAgent('node-b', settings['node-b']),
    };
    const own = await authority.issue('somebody');
    await mkdir(path.join(fleet.folder, 'cli'), { recursive: true });
    env = {
      ...process.env,
      ...fleet.env,
      DRAY_CONFIG: await file('config.json', '{}'),
      DRAY_NODES_CA: ca,
      DRAY_NODES_TOKEN: tokens.run,
      DRAY_NODES_CERT: await file('own.pem', own.certificate),
      DRAY_NODES_KEY: await file('own.key', own.key),
    };
  });
  after(async () => {
    if (!canRun) return;
    for (const node of ['node-a', 'node-b']) {
      const ids = (await dray(['ps', '-aq', '--node', node])).stdout.split('\n').filter(Boolean);
      if (ids.length > 0) await dray(['rm', '-f', '--node', node, ...ids]);
    }
    await fleet[Symbol.asyncDispose]();
    await authority[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  async function dray(args: string[], more: NodeJS.ProcessEnv = {}, input = ''): Promise<Ended> {
    const child = spawn(launcher, args, { env: { ...env, ...more } });
    child.stdin.on('error', () => {}).end(input);
    const [stdout, stderr] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ]);
    return { code: child.exitCode, stdout, stderr };
  }

  test('dray run --node pulls there and runs there: streams and exit code', async (t) => {
    if (!requireAll(t)) return;
    for (const node of ['node-a', 'node-b']) {
      const script =
        'cat; echo err >&2; hostname; tr "\\0" " " </proc/1/cmdline | cut -c-18; exit 3';
      const run = ['run', '--rm', '-i', '--init', '--hostname', `on-${node}`, '--net', 'none'];
      const ended = await dray([...run, '--node', node, image, 'sh', '-c', script], {}, 'hello\n');
      assert.deepEqual(
        [ended.code, ended.stdout],
        [3, `hello\non-${node}\n/sbin/dray-init --\n`],
        ended.stderr,
      );
      assert.match(ended.stderr, /^err$/m);
    }
  });

  test('the verbs work on the node that they are asked for', async (t) => {
    if (!requireAll(t)) return;
    const on = (node: string, ...args: string[]) =>
      dray([args[0] ?? '', '--node', node, ...args.slice(1)]);
    const cidFile = path.join(fleet.folder, 'cid');
    const started = await on(
      'node-a',
      'run',
      '-d',
      '--name',
      'far',
      '--cidfile',
      cidFile,
      '-v',
      'far-data:/data',
      image,
      'sh',
      '-c',
      'echo here; sleep 1000',
    );
    assert.deepEqual([started.code, started.stdout], [0, 'far\n'], started.stderr);
    assert.equal(await readFile(cidFile, 'utf8'), 'far');
    assert.match((await on('node-a', 'ps')).stdout, /^far /m);
    assert.equal((await on('node-a', 'ps', '-q', '-f', 'name=^fa')).stdout, 'far\n');
    assert.doesNotMatch((await on('node-b', 'ps', '-a')).stdout, /far/);
    let logs = '';
    for (const end = Date.now() + 60_000; logs === '' && Date.now() < end; ) {
      logs = (await on('node-a', 'logs', 'far')).stdout;
    }
    assert.equal(logs, 'here\n');
    const volumes = async (node: string) =>
      (await dray(['volume', 'ls', '-q', '--node', node])).stdout;
    assert.deepEqual([await volumes('node-a'), await volumes('node-b')], ['far-data\n', '']);
    assert.equal((await on('node-a', 'exec', 'far', 'echo', 'inside')).stdout, 'inside\n');
    assert.equal((await on('node-b', 'exec', 'far', 'true')).code, 125);
    assert.match((await on('node-a', 'inspect', 'far')).stdout, /"state": "running"/);
    const pid = async () => /"pid": (\d+)/.exec((await on('node-a', 'inspect', 'far')).stdout)?.[1];
    const first = await pid();
    assert.equal((await on('node-a', 'restart', '-t', '0', 'far')).stdout, 'far\n');
    assert.match((await pid()) ?? '', /\d/);
    assert.notEqual(await pid(), first);
    assert.equal((await on('node-a', 'stop', '-t', '0', 'far')).code, 0);
    assert.equal((await on('node-a', 'wait', 'far')).stdout, '137\n');
  });

  test('a terminal on another node', async (t) => {
    if (!requireAll(t)) return;
    const args = ['run', '-it', '--rm', '--node', 'node-b', image];
    using screen = startOnTerminal(launcher, args, { env, columns: 91, rows: 27 });
    await screen.shows(/# $/);
    screen.type('stty size\r');
    await screen.shows(/\n27 91\r\n/);
    screen.type(`sleep ${nap(1)}\r`);
    await untilRunning(1, 'sleep', nap(1));
    screen.type('\x03');
    await screen.shows(/\^C\r\n[^\n]*# $/);
    screen.type('exit 4\r');
    assert.equal(await screen.ended, 4);
  });

  test('who may not is told so, and nothing but https answers', async (t) => {
    if (!requireAll(t)) return;
    const readOnly = { DRAY_NODES_TOKEN: tokens.read };
    assert.equal((await dray(['ps', '--node', 'node-a'], readOnly)).code, 0);
    const denied = await dray(['run', '--node', 'node-a', image, 'true'], readOnly);
    assert.equal(denied.code, 125);
    assert.match(denied.stderr, /The token read has no scope run/);
    const without = await dray(['ps', '--node', 'node-a'], { DRAY_NODES_TOKEN: '' });
    assert.match(without.stderr, /The agent wants a token/);
    const noCertificate = { DRAY_NODES_CERT: '', DRAY_NODES_KEY: '' };
    const refused = await dray(['ps', '--node', 'node-b'], noCertificate);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /The agent of node node-b at 127\.0\.0\.1:\d+ does not answer/);
    const distrusted = await dray(['ps', '--node', 'node-a'], { DRAY_NODES_CA: '' });
    assert.match(distrusted.stderr, /DRAY_NODES_CA says whose certificates/);
    assert.match((await dray(['ps', '--node', 'node-x'])).stderr, /No node "node-x"/);
    const { stdout } = await dray(['nodes', '-o', 'json']);
    const [first] = JSON.parse(stdout) as { name: string; address: string }[];
    await assert.rejects(fetch(`http://${first?.address}/v1/health`));
    const socket = await stat(path.join(fleet.folder, 'node-a', 'run', 'agent.sock'));
    assert.equal(socket.mode & 0o777, 0o660);
  });

  test('an agent that stands at the address of another is not obeyed', async (t) => {
    if (!requireAll(t)) return;
    const nodes = await fleet.redis.hgetall('{dray}:dray:nodes');
    const other = JSON.parse(nodes['node-b'] ?? '{}') as object;
    await fleet.redis.hset('{dray}:dray:nodes', 'node-c', JSON.stringify(other));
    const ended = await dray(['ps', '--node', 'node-c']);
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /node node-c .* does not answer: .*altnames/);
  });

  test('an agent that is killed while its output is followed from afar: no line is lost', async (t) => {
    if (!requireAll(t)) return;
    const name = 'far-ticker';
    await dray(['run', '-d', '--node', 'node-b', '--name', name, image, ...counting]);
    const followed = await followCounting(t, ['--node', 'node-b', name], env);
    await agents['node-b'].kill();
    await fleet.startAgent('node-b', settings['node-b']);
    await followed.goesOn();
    await dray(['exec', '--node', 'node-b', name, 'touch', '/end']);
    await followed.whole();
  });
});
