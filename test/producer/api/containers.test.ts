import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, type TestContext, test } from 'node:test';
import { DrayageClient } from '../../../producer/client/client.ts';
import { createToken, type Scope } from '../../../shared/access/tokens.ts';
import { type Authority, makeAuthority } from '../../support/authority.ts';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { keepSecret, listeningAgent } from '../../support/listening-agent.ts';
import type { TestProgram } from '../../support/programs.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { requireRoot, requireTool } from '../../support/requirements.ts';
import { pushShellImage } from '../../support/shell-image.ts';
import { until } from '../../support/until.ts';
import { startApi, type TestApi } from './support.ts';

const canRun = process.getuid?.() === 0;
const requireAll = (t: TestContext) =>
  requireRoot(t) && requireTool(t, 'runc', 'conmon', 'busybox', 'redis-server', 'openssl');

describe('containers by the API', { concurrency: false }, () => {
  let registry: TestRegistry;
  let authority: Authority;
  let fleet: TestFleet;
  let agent: TestProgram;
  let api: TestApi;
  let client: DrayageClient;
  let reader: string;
  let image: string;
  let env: NodeJS.ProcessEnv;
  let listening: NodeJS.ProcessEnv;

  before(async () => {
    if (!canRun) return;
    registry = await startRegistry();
    fleet = await startFleet();
    authority = await makeAuthority('agents');
    image = (await pushShellImage(registry.host)).reference;
    await fleet.startWorker('w1');
    const ofNodes = path.join(fleet.folder, 'node-tokens.json');
    const ofApi = path.join(fleet.folder, 'api-tokens.json');
    const ownToken = await createToken(ofNodes, { name: 'api', scopes: ['run'] });
    listening = {
      ...(await listeningAgent(fleet, authority, 'far')),
      DRAY_API_TOKENS: ofNodes,
    };
    agent = await fleet.startAgent('far', listening);
    await fleet.startAgent('shut');
    env = {
      ...fleet.env,
      DRAY_API_TOKENS: ofApi,
      DRAY_NODES_CA: await keepSecret(fleet, 'ca.pem', authority.certificate),
      DRAY_NODES_TOKEN: await keepSecret(fleet, 'node-token', ownToken),
    };
    const token = await createToken(ofApi, { name: 'runs', scopes: ['run', 'pull'] });
    reader = await createToken(ofApi, { name: 'reads', scopes: ['read', 'pull'] });
    api = await startApi(env);
    client = new DrayageClient({ url: api.url, token });
    const { id } = await client.pull({ reference: image, nodes: ['far'] });
    assert.equal((await fleet.ended(id)).state, 'ready');
  });
  after(async () => {
    if (!canRun) return;
    const containers = client.containers('far');
    for (const { id } of await containers.list()) await containers.remove(id, { force: true });
    await api[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    await authority[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  const base = { network: 'none' as const };

  test('a container is run, looked at, stopped, started again and removed', async (t) => {
    if (!requireAll(t)) return;
    const containers = client.containers('far');
    const script = 'trap "exit 7" TERM; echo out; echo err >&2; while :; do sleep 0.05; done';
    const options = { ...base, args: ['sh', '-c', script], labels: { app: 'web' } };
    const made = await containers.run({ image, id: 'web', options });
    assert.deepEqual([made.id, made.state, made.labels.app], ['web', 'running', 'web']);
    assert.deepEqual(
      (await containers.list()).map(({ id }) => id),
      ['web'],
    );
    await output('web', 'out\n', { stream: 'stdout' });
    await output('web', 'err\n', { stream: 'stderr' });
    assert.equal((await containers.pause('web')).state, 'paused');
    assert.equal((await containers.unpause('web')).state, 'running');
    assert.deepEqual(await containers.stop('web', { timeoutMs: 20_000 }), { exitCode: 7 });
    const stopped = await containers.get('web');
    assert.deepEqual([stopped.state, stopped.exitCode], ['exited', 7]);
    assert.deepEqual(await containers.stop('web'), { exitCode: 7 });
    assert.equal((await containers.start('web')).state, 'running');
    await assert.rejects(containers.remove('web'), { code: 'CONFLICT' });
    await containers.kill('web');
    await until('its end', async () => (await containers.get('web')).state === 'exited');
    assert.equal((await containers.get('web')).exitCode, 137);
    await containers.remove('web');
    await assert.rejects(containers.get('web'), { code: 'NOT_FOUND', status: 404 });
  });

  /** It comes a moment after the container has begun. */
  async function output(id: string, wanted: string, options: { stream: 'stdout' | 'stderr' }) {
    const containers = client.containers('far');
    await until(wanted, async () => (await text(await containers.logs(id, options))) === wanted);
  }

  test('its output is followed to its end, and taken from a line on', async (t) => {
    if (!requireAll(t)) return;
    const containers = client.containers('far');
    const script =
      'until [ -e /go ]; do sleep 0.05; done; for i in 1 2 3; do echo line $i; sleep 0.2; done';
    const { id } = await containers.run({
      image,
      options: { ...base, args: ['sh', '-c', script] },
    });
    // It is silent as yet: the answer is there all the same.
    const following = await containers.logs(id, { follow: true });
    assert.equal((await containers.exec(id, { args: ['touch', '/go'] })).exitCode, 0);
    assert.equal(await text(following), 'line 1\nline 2\nline 3\n');
    assert.equal(await text(await containers.logs(id, { tail: 1 })), 'line 3\n');
    assert.match(
      await text(await containers.logs(id, { tail: 1, timestamps: true })),
      /^\d{4}-\d\d-\d\dT[\d:.]+Z line 3\n$/,
    );
    await containers.remove(id);
  });

  test('a further command is run in it, and its end is waited for', async (t) => {
    if (!requireAll(t)) return;
    const containers = client.containers('far');
    const script = 'until [ -e /go ]; do sleep 0.05; done; exit 9';
    const { id } = await containers.run({
      image,
      options: { ...base, args: ['sh', '-c', script], env: ['A=1'] },
    });
    const waiting = await api.call('GET', `/v1/nodes/far/containers/${id}/wait?timeoutMs=100`, {
      token: reader,
    });
    assert.deepEqual([waiting.status, waiting.json.code], [504, 'TIMEOUT']);
    const told = await containers.exec(id, {
      args: ['sh', '-c', 'echo "$A $B"; cat; echo oops >&2; exit 4'],
      env: ['B=2'],
      input: 'from the caller',
    });
    assert.deepEqual(told, {
      ...{ exitCode: 4, stdout: '1 2\nfrom the caller', stderr: 'oops\n', truncated: false },
    });
    const unread = await containers.exec(id, { args: ['true'], input: 'x'.repeat(900_000) });
    assert.equal(unread.exitCode, 0, 'what it was sent and did not read is no error');
    const long = await containers.exec(id, {
      args: ['sh', '-c', 'head -c 3000000 /dev/zero | tr "\\0" x'],
    });
    assert.deepEqual([long.exitCode, long.stdout.length, long.truncated], [0, 1024 * 1024, true]);
    const missing = containers.exec(id, { args: ['/nowhere'] });
    await assert.rejects(missing, { code: /^(COMMAND_MISSING|RUNTIME_FAILED)$/ });
    const ended = containers.wait(id);
    await containers.exec(id, { args: ['touch', '/go'] });
    assert.deepEqual(await ended, { exitCode: 9 });
    await assert.rejects(containers.exec(id, { args: ['true'] }), { code: 'CONFLICT' });
    await containers.remove(id);
    await assert.rejects(containers.wait('never-there'), { code: 'NOT_FOUND' });
  });

  test('a node is drained, with its containers where that is asked for', async (t) => {
    if (!requireAll(t)) return;
    const containers = client.containers('far');
    const options = { ...base, args: ['sleep', '600'], stopSignal: 'KILL' };
    const admin = new DrayageClient({ url: api.url, token: await tokenOf('admin', ['admin']) });
    const { id } = await containers.run({
      image,
      options: { ...options, restart: { name: 'always' } },
    });
    assert.equal((await admin.markNode('far', 'drain')).mark, 'drained');
    assert.equal((await containers.get(id)).state, 'running');
    await assert.rejects(client.markNode('far', 'drain', { stopContainers: true }), {
      code: 'DENIED',
    });
    await admin.markNode('far', 'drain', { stopContainers: true });
    assert.equal((await containers.get(id)).state, 'exited');
    await admin.markNode('far', 'uncordon');
    await containers.remove(id);
  });

  test('what dray run has options for is asked for here too: an init, exposed and free ports', async (t) => {
    if (!requireAll(t) || !requireTool(t, 'catatonit')) return;
    const containers = client.containers('far');
    const args = [
      'sh',
      '-c',
      'stat -c %u:%g:%a /own; trap "exit 3" TERM; while :; do sleep 0.05; done',
    ];
    const mounts = [{ type: 'tmpfs' as const, target: '/own', uid: 1000, gid: 5, mode: 0o750 }];
    const options = { ...base, args, mounts, init: true, expose: ['80', '53/udp'] };
    const { id, network } = await containers.run({ image, options });
    assert.deepEqual(network.exposedPorts, ['80', '53/udp']);
    await output(id, '1000:5:750\n', { stream: 'stdout' });
    const { stdout } = await containers.exec(id, { args: ['cat', '/proc/1/cmdline'] });
    assert.match(stdout, /^\/sbin\/dray-init\0--\0sh\0/);
    // The script may not have come to its trap yet.
    const { exitCode } = await containers.stop(id, { timeoutMs: 60_000 });
    assert.ok([3, 143].includes(exitCode), `${exitCode}`);
    await containers.remove(id);
    await assert.rejects(containers.run({ image, options: { ...options, publishAll: true } }), {
      code: 'CONFIG_INVALID',
      message: /Ports can't be published/,
    });
    assert.deepEqual(await containers.list(), []);
  });

  test('all nodes are asked, and those that can not say are named', async (t) => {
    if (!requireAll(t)) return;
    const made = await client.containers('far').run({ image, options: base, start: false });
    assert.equal(made.state, 'created');
    const { items, missing } = await client.listContainers();
    assert.deepEqual(
      items.map(({ node, container }) => [node, container.id, container.state]),
      [['far', made.id, 'created']],
    );
    assert.deepEqual(
      missing.map(({ node, error }) => [node, error.code]),
      [['shut', 'AGENT_UNAVAILABLE']],
    );
    await client.containers('far').remove(made.id);
  });

  test('who may not is refused, and what is wrong has the code of the command', async (t) => {
    if (!requireAll(t)) return;
    const at = '/v1/nodes/far/containers';
    const told = async (method: string, where: string, body?: unknown, token = reader) => {
      const { status, json } = await api.call(method, where, { body, token });
      return [status, json.code];
    };
    assert.deepEqual(await told('POST', at, { image }), [403, 'DENIED']);
    assert.deepEqual(await told('POST', `${at}/x/stop`), [403, 'DENIED']);
    assert.deepEqual(await told('DELETE', `${at}/x`), [403, 'DENIED']);
    assert.deepEqual(await told('GET', `${at}/x`), [404, 'NOT_FOUND']);
    assert.deepEqual(await told('GET', `${at}/x/logs`), [404, 'NOT_FOUND']);
    // 90: what is no id never gets to an agent.
    for (const id of ['..%2Fx', '-x', 'x%00']) {
      assert.deepEqual(await told('GET', `${at}/${id}`), [400, 'USAGE'], id);
    }
    assert.deepEqual(await told('GET', '/v1/nodes/none/containers'), [404, 'NOT_FOUND']);
    assert.deepEqual(await told('GET', '/v1/nodes/shut/containers'), [503, 'AGENT_UNAVAILABLE']);
    const containers = client.containers('far');
    await assert.rejects(containers.run({ image: 'localhost/none:v1' }), { code: 'IMAGE_UNKNOWN' });
    await assert.rejects(containers.run({ image, id: '../x' }), { code: 'USAGE' });
    await assert.rejects(containers.run({ image: 'Not A Reference' }), {
      code: 'REFERENCE_INVALID',
    });
    const wrong = { ...base, mounts: [{ type: 'device' }] } as object;
    await assert.rejects(containers.run({ image, options: wrong }), { code: 'USAGE' });
    const missing = { ...base, entrypoint: ['/nowhere'] };
    await assert.rejects(containers.run({ image, id: 'lame', options: missing }), {
      code: /^(COMMAND_MISSING|RUNTIME_FAILED)$/,
    });
  });

  test('without tokens the API is closed to containers, being on its machine is not enough', async (t) => {
    if (!requireAll(t)) return;
    await using open = await startApi({ ...env, DRAY_API_TOKENS: '/nonexistent/tokens.json' });
    for (const [method, where, body] of [
      ['GET', '/v1/containers'],
      ['GET', '/v1/nodes/far/containers'],
      ['POST', '/v1/nodes/far/containers'],
      ['GET', '/v1/nodes/far/containers/x/logs'],
      ['POST', '/v1/nodes/far/containers/x/exec'],
      ['POST', '/v1/nodes/far/drain', { stopContainers: true }],
    ] as const) {
      const { status, json } = await open.call(method, where, { body });
      assert.deepEqual([status, json.code], [403, 'DENIED'], where);
    }
    assert.equal((await open.call('GET', '/v1/nodes')).status, 200);
  });

  test('an answer that was lost: what is tried again makes no second container', async (t) => {
    if (!requireAll(t)) return;
    let sent = 0;
    const losing = new DrayageClient({
      url: api.url,
      token: await tokenOf('loses'),
      async fetch(...args) {
        const response = await fetch(...args);
        if (sent++ > 0) return response;
        await response.text();
        throw new TypeError('fetch failed');
      },
    });
    const options = { ...base, args: ['sleep', '60'], stopSignal: 'KILL' };
    const made = await losing.containers('far').run({ image, options });
    assert.ok(sent > 1);
    assert.equal(made.state, 'running');
    const ids = (await client.containers('far').list()).map(({ id }) => id);
    assert.deepEqual(
      ids.filter((id) => id !== 'lame'),
      [made.id],
    );
    sent = 0;
    await losing.containers('far').remove(made.id, { force: true });
    assert.ok(sent > 1);
    sent = 0;
    await assert.rejects(losing.containers('far').kill('lame'), { code: 'UNREACHABLE' });
    assert.equal(sent, 1, 'a signal is not sent twice');
  });

  test('an API that the agent does not know says so, and whose fault it is', async (t) => {
    if (!requireAll(t)) return;
    const wrong = path.join(fleet.folder, 'wrong-token');
    await writeFile(wrong, 'dray_nobody');
    await using stranger = await startApi({ ...env, DRAY_NODES_TOKEN: wrong });
    const answer = await stranger.call('GET', '/v1/nodes/far/containers', { token: reader });
    assert.deepEqual([answer.status, answer.json.code], [503, 'AGENT_UNAVAILABLE']);
    assert.match(String(answer.json.detail), /agent of node far refuses this API/);
    assert.doesNotMatch(JSON.stringify(answer.json), /dray_nobody/);
  });

  test('a node whose agent is gone is unavailable at once', async (t) => {
    if (!requireAll(t)) return;
    await agent.stop();
    try {
      const begun = performance.now();
      const { status, json } = await api.call('GET', '/v1/nodes/far/containers', { token: reader });
      assert.deepEqual([status, json.code], [503, 'AGENT_UNAVAILABLE']);
      assert.ok(performance.now() - begun < 15_000);
    } finally {
      agent = await fleet.startAgent('far', listening);
    }
  });

  async function tokenOf(name: string, scopes: Scope[] = ['run']): Promise<string> {
    return await createToken(env.DRAY_API_TOKENS ?? '', { name, scopes });
  }
});
