/** A service as people run it: run by test/system/network.test.ts in a network namespace of its own. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { request } from 'node:http';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { ContainerStatus } from '../../../shared/agent/containers.ts';
import { startDray, type TestDray } from '../../support/dray.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { pushShellImage } from '../../support/shell-image.ts';
import { until } from '../../support/until.ts';

const run = promisify(execFile);
const bridge = `drt${randomBytes(4).toString('hex')}`;
const addresses = `/run/drayage/addresses/${bridge}`;

describe('a service on the bridge', () => {
  let registry: TestRegistry;
  let dray: TestDray;
  let image = '';
  before(async () => {
    registry = await startRegistry();
    image = (await pushShellImage(registry.host)).reference;
    dray = await startDray({ env: { DRAY_NETWORK: 'bridge', DRAY_BRIDGE: bridge } });
  });
  after(async () => {
    await dray[Symbol.asyncDispose]();
    await registry.stop();
    await rm(addresses, { recursive: true, force: true });
  });

  const inspect = async (id: string): Promise<ContainerStatus> => {
    const { stdout } = await dray.dray('inspect', id);
    const parsed = JSON.parse(stdout) as ContainerStatus | [ContainerStatus];
    return Array.isArray(parsed) ? parsed[0] : parsed;
  };

  test('reachable; back when it was killed; no request is lost while the agent is killed and replaced', async () => {
    const serve = 'echo up; exec httpd -f -vv -p 80 -h /etc';
    const service = ['-p', '8080:80', '--restart', 'always', '-m', '64m', '--name', 'web'];
    await dray.dray('run', '-d', ...service, image, '/bin/sh', '-c', serve);
    await until('an answer', () => get().then(isGood, () => false));
    const first = await inspect('web');
    assert.equal(first.state, 'running');
    assert.match(first.network.addresses[0] ?? '', /^10\.66\.0\.\d+$/);
    assert.deepEqual(first.network.ports, [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]);
    assert.equal(await memoryLimit(first.pid ?? 0), 64 * 2 ** 20);
    let answered = 1;

    process.kill(first.pid ?? 0, 'SIGKILL');
    await until('a restart', async () => (await inspect('web')).restarts === 1);
    await until('an answer after it', () => get().then(isGood, () => false));
    answered++;
    const second = await inspect('web');
    assert.notEqual(second.pid, first.pid);

    const failures: unknown[] = [];
    let going = true;
    const load = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (going) {
          await get().then(
            (status) => (isGood(status) ? answered++ : failures.push(status)),
            (error: unknown) => failures.push(error),
          );
        }
      }),
    );
    await sleep(500);
    const pidFiles = await findFiles(dray.state, /agent\.pid$/);
    const [agent = ''] = (await readFile(pidFiles[0] ?? '', 'utf8')).split(' ');
    process.kill(Number(agent), 'SIGKILL');
    await sleep(500);
    const third = await inspect('web');
    await until('answers', async () => answered > 20 || failures.length > 0);
    going = false;
    await load;
    assert.deepEqual(failures, []);
    assert.deepEqual([third.pid, third.restarts], [second.pid, 1]);
    const { stdout, stderr } = await dray.dray('logs', 'web');
    assert.equal(stdout, 'up\nup\n');
    const logged = stderr.split('\n').filter((line) => line.includes('response:200'));
    assert.equal(logged.length, answered, 'each request that was answered is in the log');

    await dray.dray('stop', '-t', '1', 'web');
    await sleep(500);
    assert.equal((await inspect('web')).state, 'exited', 'what was stopped stays stopped');
    await assert.rejects(get());
    await dray.dray('start', 'web');
    await until('an answer again', () => get().then(isGood, () => false));
    const taken = await dray.tryDray('run', '-d', '-p', '8080:80', image, 'true');
    assert.equal(taken.exitCode, 125);
    assert.match(taken.stderr, /Port 8080\/tcp of the node is taken by another container/);
    await dray.dray('rm', '-f', 'web');
    await until('that its address is free', async () => (await inUse()).length === 0);
    const { stdout: rules } = await run('iptables', ['-t', 'nat', '-S']);
    assert(!/10\.66\.0\.|dport 8080/.test(rules), rules);
    assert(!(await readFile('/proc/self/mountinfo', 'utf8')).includes(dray.state));
  });

  test('run -P: dray port says where the ports that the image exposes are', async () => {
    const ExposedPorts = { '80/tcp': {}, '53/udp': {} };
    const { reference } = await pushShellImage(registry.host, 'exposing', { ExposedPorts });
    await dray.dray('run', '-d', '-P', '--name', 'open', reference, 'httpd', '-f', '-h', '/etc');
    const { stdout } = await dray.dray('port', 'open', '80');
    const [, port = ''] = /^0\.0\.0\.0:(\d+)\n$/.exec(stdout) ?? [];
    assert.notEqual(port, '');
    await until('an answer', () => get(Number(port)).then(isGood, () => false));
    const all = await dray.dray('port', 'open');
    assert.match(all.stdout, /^53\/udp -> 0\.0\.0\.0:\d+$/m);
    assert.match((await dray.dray('ps')).stdout, new RegExp(`\\b${port}->80/tcp`));
    const missing = await dray.tryDray('port', 'open', '81');
    assert.equal(missing.exitCode, 1);
    await dray.dray('rm', '-f', 'open');
    const none = await dray.dray('run', '--rm', '-P', image, 'true');
    assert.match(none.stderr, /warning: The image exposes no port/);
  });

  test('more memory than the limit: ended by the kernel, and told', async () => {
    const hog = ['/bin/sh', '-c', 'x=0123456789abcdef; while :; do x=$x$x; done'];
    const result = await dray.tryDray('run', '--name', 'hog', '-m', '16m', image, ...hog);
    assert.equal(result.exitCode, 137, result.stderr);
    assert.match(result.stderr, /more memory than its limit of 16 MiB.*\(OOM\)/);
    const { oomKilled, exitCode } = await inspect('hog');
    assert.deepEqual([oomKilled, exitCode], [true, 137]);
    await dray.dray('rm', 'hog');
  });

  async function inUse(): Promise<string[]> {
    return (await readdir(addresses)).filter((name) => /^\d/.test(name));
  }
});

async function get(port = 8080): Promise<number> {
  return await new Promise((resolve, reject) => {
    const sent = request(
      { host: '127.0.0.1', port, path: '/passwd', agent: false, timeout: 10_000 },
      (response) => {
        response.resume();
        response.once('end', () => resolve(response.statusCode ?? 0));
        response.once('error', reject);
      },
    );
    sent.once('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.once('error', reject);
    sent.end();
  });
}

function isGood(status: number): boolean {
  return status === 200;
}

async function findFiles(folder: string, name: RegExp): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  return names.filter((file) => name.test(file)).map((file) => path.join(folder, file));
}

/** Of the cgroup that a process is in, in either version. */
async function memoryLimit(pid: number): Promise<number> {
  const lines = (await readFile(`/proc/${pid}/cgroup`, 'utf8')).split('\n');
  const v1 = lines.find((line) => line.includes(':memory:'))?.split(':')[2];
  const v2 = lines.find((line) => line.startsWith('0::'))?.slice(3);
  const file =
    v1 === undefined
      ? `/sys/fs/cgroup${v2}/memory.max`
      : `/sys/fs/cgroup/memory${v1}/memory.limit_in_bytes`;
  return Number(await readFile(file, 'utf8'));
}
