/** The network `bridge` itself: run by test/system/network.test.ts in a network namespace of its own. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { RunOptions } from '../../../shared/agent/run-options.ts';
import { layoutOf } from '../../../worker/agent/containers/layout.ts';
import { findMonitors } from '../../../worker/agent/runtime/monitor.ts';
import { until } from '../../support/until.ts';
import { startTestAgent, type TestAgent } from '../../worker/agent/containers/agent.ts';
import { imageName, outputOf } from '../../worker/agent/containers/node.ts';

const run = promisify(execFile);
process.env.DRAY_BRIDGE = `drt${randomBytes(4).toString('hex')}`;
const addresses = `/run/drayage/addresses/${process.env.DRAY_BRIDGE}`;

async function start(agent: TestAgent, id: string, script: string, options: RunOptions = {}) {
  const args = ['/bin/sh', '-c', script];
  const wanted: RunOptions = { args, network: 'bridge', ...options };
  await agent.client.containers.create({ id, image: imageName, options: wanted });
  await agent.client.containers.start(id);
  return await agent.client.containers.inspect(id);
}

async function printed(agent: TestAgent, id: string): Promise<string> {
  const logs = (name: string, options: object) => agent.client.containers.logs(name, options);
  return (await outputOf({ logs }, id)).stdout.toString();
}

async function inUse(): Promise<string[]> {
  return (await readdir(addresses).catch(() => [])).filter((name) => /^\d/.test(name));
}

async function natRules(): Promise<string[]> {
  const { stdout } = await run('iptables', ['-t', 'nat', '-S']);
  return stdout.split('\n').filter((line) => line.includes('10.66.'));
}

describe('the network bridge', () => {
  after(() => rm(addresses, { recursive: true, force: true }));

  test('an address of its own, which others reach, by name in its own files; freed at its end', async () => {
    await using agent = await startTestAgent();
    const options = { dns: ['192.0.2.7'], hosts: ['node:host-gateway'] };
    const server = await start(agent, 'server', 'echo hello | nc -l -p 80; sleep 60', options);
    const [address = ''] = server.network.addresses;
    assert.match(address, /^10\.66\.0\.\d+$/);
    await start(
      agent,
      'client',
      `until nc ${address} 80; do sleep 0.2; done; cat /etc/hosts /etc/resolv.conf; ls /sys/class/net`,
      options,
    );
    const seen = await printed(agent, 'client');
    assert.match(seen, /^hello\n/);
    assert.match(seen, /^10\.66\.0\.\d+\tclient$/m);
    assert.match(seen, /^10\.66\.0\.1\tnode$/m);
    assert.match(seen, /^nameserver 192\.0\.2\.7$/m);
    assert.match(seen, /^eth0\nlo$/m);
    for (const id of ['server', 'client'])
      await agent.client.containers.remove(id, { force: true });
    assert.deepEqual(await inUse(), []);
    assert.deepEqual(await natRules(), []);
    assert.deepEqual(await readdir(layoutOf(agent.root).networks), []);
  });

  test('ports lead to it; one that is taken is refused, and nothing is left', async () => {
    await using agent = await startTestAgent();
    await start(agent, 'tcp', 'while :; do echo tcp | nc -l -p 80; done', {
      ports: [{ hostPort: 8081, containerPort: 80, protocol: 'tcp' }],
    });
    // What listens there has begun a moment after its container has.
    const answer = await until('an answer', () =>
      text(connect(8081, '127.0.0.1')).catch(() => undefined),
    );
    assert.equal(answer, 'tcp\n');
    await using own = createServer();
    own.listen(8082, '0.0.0.0');
    await once(own, 'listening');
    const taken: [number, RegExp][] = [
      [8081, /taken by another container/],
      [8082, /taken by a program of this node/],
    ];
    for (const [hostPort, message] of taken) {
      await assert.rejects(
        start(agent, `no-${hostPort}`, 'true', {
          ports: [{ hostPort, containerPort: 80, protocol: 'tcp' }],
        }),
        { code: 'CONFLICT', message },
      );
    }
    assert.equal((await inUse()).length, 1);
    await agent.client.containers.stop('tcp', { timeout: 0 });
    // Whoever stops it hears of its end before all is freed.
    await until('that', async () => (await inUse()).length + (await natRules()).length === 0);
  });

  test('ports that are not named are free ones, which it keeps where it can', async () => {
    await using agent = await startTestAgent();
    const served = 'while :; do echo tcp | nc -l -p 80; done';
    const wanted: RunOptions = {
      ports: [{ containerPort: 80, protocol: 'tcp' }],
      expose: ['80', '90-91/tcp', '53/udp'],
      publishAll: true,
    };
    const names = Array.from({ length: 4 }, (_, index) => `free-${index}`);
    const all = await Promise.all(names.map((name) => start(agent, name, served, wanted)));
    const numbers = all.flatMap(({ network }) =>
      network.ports.map(({ hostPort, protocol }) => `${hostPort}/${protocol}`),
    );
    assert.equal(new Set(numbers).size, 4 * 4);
    const [first] = all;
    const ports = first?.network.ports ?? [];
    assert.deepEqual(
      ports.map(({ containerPort, protocol }) => `${containerPort}/${protocol}`),
      ['80/tcp', '90/tcp', '91/tcp', '53/udp'],
    );
    const [{ hostPort = 0 } = {}] = ports;
    const answer = await until('an answer', () =>
      text(connect(hostPort, '127.0.0.1')).catch(() => undefined),
    );
    assert.equal(answer, 'tcp\n');
    const { containers } = agent.client;
    const again = async () => {
      await containers.stop('free-0', { timeout: 0 });
      assert.deepEqual((await containers.inspect('free-0')).network.ports, []);
      await until('that its address is free', async () => (await inUse()).length === 3);
    };
    await again();
    await containers.start('free-0');
    assert.deepEqual((await containers.inspect('free-0')).network.ports, ports);
    await agent.kill();
    await agent.start();
    assert.deepEqual((await containers.inspect('free-0')).network.ports, ports);
    await again();
    await using other = createServer();
    other.listen(hostPort, '0.0.0.0');
    await once(other, 'listening');
    await containers.start('free-0');
    const [moved, ...kept] = (await containers.inspect('free-0')).network.ports;
    assert.notEqual(moved?.hostPort, hostPort);
    assert.deepEqual(kept, ports.slice(1));
    await assert.rejects(start(agent, 'many', 'true', { expose: ['1-65535'], publishAll: true }), {
      code: 'CONFIG_INVALID',
      message: /more than 1000 ports/,
    });
    for (const name of names) await containers.remove(name, { force: true });
    assert.deepEqual(await natRules(), []);
  });

  test('addresses of containers that ended while no agent was there are freed by the next', async () => {
    await using agent = await startTestAgent();
    const { pid = 0 } = await start(agent, 'brief', 'sleep 60');
    const { pid: lasting } = await start(agent, 'lasting', 'sleep 60');
    await agent.kill();
    process.kill(pid, 'SIGKILL');
    await sleep(300);
    assert.equal((await inUse()).length, 2);
    // As an agent leaves it that dies between letting go of a namespace and removing its file.
    const { networks } = layoutOf(agent.root);
    const held = (await readdir(networks)).find((name) => /^brief-.*\.netns$/.test(name));
    await run('umount', [path.join(networks, held ?? '')]);
    await agent.start();
    assert.deepEqual((await agent.client.containers.wait('brief')).exitCode, 137);
    assert.equal((await inUse()).length, 1);
    const found = await agent.client.containers.inspect('lasting');
    assert.deepEqual(
      [found.state, found.pid, found.network.addresses.length],
      ['running', lasting, 1],
    );
  });

  test('after a reboot what should run does, with an address of its own, and nothing stale is left', async () => {
    await using agent = await startTestAgent();
    const always: RunOptions = { restart: { name: 'always' } };
    await start(agent, 'service', 'echo run; sleep 60', always);
    await start(agent, 'job', 'sleep 60');
    await start(agent, 'stopped', 'sleep 60', always);
    await agent.client.containers.stop('stopped', { timeout: 0 });
    const layout = layoutOf(agent.root);
    await agent.kill();
    await powerCut(agent);
    // Where /run does not lie in memory, its files outlive the boot that they are of.
    await writeFile(path.join(layout.run, 'boot-id'), 'another');
    await rm(addresses, { recursive: true, force: true });
    await agent.start();
    const stateOf = async (id: string) => (await agent.client.containers.inspect(id)).state;
    await until('the service', async () => (await stateOf('service')) === 'running');
    const service = await agent.client.containers.inspect('service');
    assert.equal(service.restarts, 1);
    assert.equal(service.network.addresses.length, 1);
    const job = await agent.client.containers.inspect('job');
    assert.deepEqual([job.state, job.exitCode], ['exited', 255]);
    assert.equal((await agent.client.containers.inspect('stopped')).state, 'exited');
    assert.equal((await inUse()).length, 1);
    assert.deepEqual((await readdir(layout.networks)).length, 2);
    const mounted = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
    assert.equal(mounted.filter((line) => line.includes(agent.root)).length, 1);
  });
});

/** Ends all that a reboot ends: processes, mounts, and the devices and rules of the network. */
async function powerCut({ root }: TestAgent): Promise<void> {
  for (const instance of await readdir(path.join(root, 'containers'))) {
    const bundle = path.join(root, 'containers', instance);
    for (const pid of findMonitors(bundle)) process.kill(pid, 'SIGKILL');
    const pid = Number(await readFile(path.join(bundle, 'container.pid'), 'utf8').catch(() => ''));
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (pid > 1 && command.includes('sleep')) process.kill(pid, 'SIGKILL');
    await run('umount', [path.join(bundle, 'rootfs')]).catch(() => {});
  }
  const { networks } = layoutOf(root);
  for (const name of await readdir(networks)) {
    if (name.endsWith('.netns')) await run('umount', [path.join(networks, name)]);
  }
  await run('iptables', ['-t', 'nat', '-F']);
  await run('ip', ['link', 'del', process.env.DRAY_BRIDGE ?? '']);
}
