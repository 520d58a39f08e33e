import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerStatus } from '../../../../shared/agent/containers.ts';
import type { RunOptions } from '../../../../shared/agent/run-options.ts';
import type { Container } from '../../../../worker/agent/containers/container.ts';
import { nextHealth } from '../../../../worker/agent/containers/health.ts';
import { planRestart } from '../../../../worker/agent/containers/restarts.ts';
import { until } from '../../../support/until.ts';
import { startTestAgent, type TestAgent } from './agent.ts';
import { imageName, outputOf, requireContainers, temporaryNode, tinyImage } from './node.ts';

const shell = (script: string) => ['/bin/sh', '-c', script];

describe('restart policies', () => {
  const ended = (more: Partial<Container>): Container =>
    ({
      state: 'exited',
      exitCode: 1,
      restarts: 0,
      stopRequested: false,
      backoff: 0,
      options: {},
      ...more,
    }) as Container;
  const policy = (name: 'no' | 'on-failure' | 'always', maxRetries?: number): RunOptions => ({
    restart: { name, ...(maxRetries === undefined ? {} : { maxRetries }) },
  });

  test('who is started again, and when', () => {
    const table: [Partial<Container>, number | undefined][] = [
      [{}, undefined],
      [{ options: policy('no') }, undefined],
      [{ options: policy('always'), exitCode: 0 }, 100],
      [{ options: policy('always'), stopRequested: true }, undefined],
      [{ options: policy('on-failure') }, 100],
      [{ options: policy('on-failure'), exitCode: 0 }, undefined],
      [{ options: policy('on-failure', 2), restarts: 1 }, 100],
      [{ options: policy('on-failure', 2), restarts: 2 }, undefined],
      [{ options: policy('always'), backoff: 100 }, 200],
      [{ options: policy('always'), backoff: 40_000 }, 60_000],
      [
        {
          options: policy('always'),
          backoff: 40_000,
          startedAt: new Date(0),
          finishedAt: new Date(10_000),
        },
        100,
      ],
    ];
    for (const [more, wanted] of table) {
      const planned = planRestart(ended(more));
      assert.equal(planned?.backoff, wanted, JSON.stringify(more));
      if (planned !== undefined) assert.equal(planned.restarts, (more.restarts ?? 0) + 1);
    }
  });

  test('on-failure:2 starts it twice more; whoever waits hears of the last end', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode();
    const { containers } = node;
    const options = { args: shell('echo run; exit 3'), ...policy('on-failure', 2) };
    await containers.create({ id: 'fails', image: imageName, options });
    const output = outputOf(containers, 'fails');
    await containers.start('fails');
    assert.equal((await containers.wait('fails')).exitCode, 3);
    assert.equal((await output).stdout.toString(), 'run\nrun\nrun\n');
    const { restarts, state } = containers.inspect('fails');
    assert.deepEqual([restarts, state], [2, 'exited']);
    await containers.start('fails');
    assert.equal(containers.inspect('fails').restarts, 0, 'who starts it begins anew');
  });

  test('always: killed, it is back; stopped or killed by a person, it stays ended', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode();
    const { containers } = node;
    const options = { args: shell('sleep 60'), ...policy('always') };
    await containers.create({ id: 'service', image: imageName, options });
    const { pid = 0 } = await containers.start('service');
    process.kill(pid, 'SIGKILL');
    await until('a restart', () => containers.inspect('service').restarts === 1);
    await until('it', () => containers.inspect('service').state === 'running');
    await containers.kill('service', 'SIGKILL');
    assert.equal((await containers.wait('service')).exitCode, 137);
    await sleep(400);
    assert.equal(containers.inspect('service').state, 'exited');
  });

  test('stop: the stop signal, then SIGKILL; one that waits for its restart ends too', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode(() => tinyImage({ StopSignal: 'SIGUSR1' }));
    const { containers } = node;
    const loop = 'echo ready; while :; do sleep 0.05; done';
    const polite = shell(`trap "exit 7" USR1; ${loop}`);
    const run = async (id: string, args: string[], more: RunOptions = {}) => {
      await containers.create({ id, image: imageName, options: { args, ...more } });
      await containers.start(id);
    };
    const isReady = async (id: string) => {
      const { output } = await containers.logs(id);
      return (await Array.fromAsync(output)).length > 0;
    };
    await run('polite', polite);
    await until('its trap', () => isReady('polite'));
    assert.equal((await containers.stop('polite')).exitCode, 7);
    await run('stubborn', shell(`trap "" USR1; ${loop}`), { stopTimeout: 1 });
    await until('its trap', () => isReady('stubborn'));
    const begun = Date.now();
    assert.equal((await containers.stop('stubborn')).exitCode, 137);
    assert(Date.now() - begun >= 1000);
    assert.equal((await containers.stop('stubborn')).exitCode, 137, 'it has ended: success');
    await run('looping', ['true'], policy('always'));
    await until('the wait', () => {
      const { state, restarts } = containers.inspect('looping');
      return state === 'restarting' && restarts > 2;
    });
    await containers.stop('looping');
    assert.equal(containers.inspect('looping').state, 'exited');
  });

  test('stop: one that has just ended by itself is not started again', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode();
    const { containers, root } = node;
    const options = { args: shell('sleep 600'), ...policy('always') };
    await containers.create({ id: 'service', image: imageName, options });
    const { pid = 0 } = await containers.start('service');
    const [instance = ''] = await readdir(path.join(root, 'containers'));
    const monitor = Number(
      await readFile(path.join(root, 'containers', instance, 'conmon.pid'), 'utf8'),
    );
    // Its end is noticed by its monitor, which is held until it was asked to stop.
    process.kill(monitor, 'SIGSTOP');
    try {
      process.kill(pid, 'SIGKILL');
      await until('its end', async () =>
        /^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, 'utf8')),
      );
      const stopped = containers.stop('service');
      await assert.rejects(containers.kill('service', 'SIGUSR1'), { code: 'CONFLICT' });
      process.kill(monitor, 'SIGCONT');
      assert.equal((await stopped).exitCode, 137);
    } finally {
      process.kill(monitor, 'SIGCONT');
    }
    const { state, restarts } = containers.inspect('service');
    assert.deepEqual([state, restarts], ['exited', 0]);
  });

  for (const [who, leave] of Object.entries({
    'the agent dies': (agent: TestAgent) => agent.kill().then(agent.start),
    'its caller leaves': (_agent: TestAgent, left: AbortController) => left.abort(),
  })) {
    test(`stop: it is killed after its time, and stays ended, also when ${who} before`, async (t) => {
      if (!requireContainers(t)) return;
      await using agent = await startTestAgent();
      const { client } = agent;
      const args = shell('trap "echo asked" TERM; echo ready; while :; do sleep 0.05; done');
      const options = { args, ...policy('always') };
      await client.containers.create({ id: 'stubborn', image: imageName, options });
      await client.containers.start('stubborn');
      const said = async (line: string) => {
        const { output } = await client.containers.logs('stubborn');
        const chunks = await Array.fromAsync(output);
        return Buffer.concat(chunks.map(({ bytes }) => bytes)).includes(line);
      };
      await until('its trap', () => said('ready'));
      const left = new AbortController();
      const asked = { timeout: 4_000, signal: left.signal };
      // Where the node is so slow that its time is up by then, it is just stopped.
      const stopped = client.containers.stop('stubborn', asked).catch(() => {});
      await until('its stop signal', () => said('asked'));
      await leave(agent, left);
      await stopped;
      assert.equal((await client.containers.wait('stubborn')).exitCode, 137);
      const { state, restarts } = await client.containers.inspect('stubborn');
      assert.deepEqual([state, restarts], ['exited', 0]);
      assert.equal((await client.containers.stop('stubborn')).exitCode, 137);
    });
  }

  test('hold while the agent is away: started again by the next agent', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    const options = { args: shell('echo run; sleep 60'), ...policy('always') };
    await client.containers.create({ id: 'service', image: imageName, options });
    await client.containers.create({ id: 'rests', image: imageName, options });
    const { pid = 0 } = await client.containers.start('service');
    await client.containers.start('rests');
    await client.containers.stop('rests', { timeout: 0 });
    await agent.kill();
    process.kill(pid, 'SIGKILL');
    await sleep(200);
    await agent.start();
    let found: ContainerStatus | undefined;
    await until('a restart', async () => {
      found = await client.containers.inspect('service');
      return found.state === 'running' && found.restarts === 1;
    });
    assert.notEqual(found?.pid, pid);
    assert.equal((await client.containers.inspect('rests')).state, 'exited');
  });
});

describe('paused containers', () => {
  test('are frozen, also for the next agent, and end when they are stopped', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    const options = {
      args: shell('trap "exit 5" TERM; i=0; while :; do echo $i; sleep 0.05; done'),
    };
    await client.containers.create({ id: 'tick', image: imageName, options });
    await client.containers.start('tick');
    assert.equal((await client.containers.pause('tick')).state, 'paused');
    const length = async () => {
      let bytes = 0;
      const { output } = await client.containers.logs('tick');
      for await (const chunk of output) bytes += chunk.bytes.length;
      return bytes;
    };
    let before = 0;
    // What it wrote before may still be on its way into the log.
    await until('silence', async () => {
      before = await length();
      await sleep(500);
      return (await length()) === before;
    });
    await agent.kill();
    await agent.start();
    await sleep(300);
    assert.equal((await client.containers.inspect('tick')).state, 'paused');
    assert.equal(await length(), before);
    await assert.rejects(client.containers.pause('tick'), { code: 'CONFLICT' });
    await client.containers.unpause('tick');
    await until('output', async () => (await length()) > before);
    await client.containers.pause('tick');
    assert.equal((await client.containers.stop('tick')).exitCode, 5);
  });
});

describe('health', () => {
  test('failures count after the start period, and a success ends them', () => {
    const check = { startPeriod: 1000, retries: 2 };
    const startedAt = new Date(0);
    const at = (milliseconds: number, exitCode: number) => ({
      at: new Date(milliseconds).toISOString(),
      exitCode,
      output: '',
    });
    let health = nextHealth({ startedAt }, check, at(500, 1));
    assert.deepEqual([health.state, health.failures], ['starting', 0]);
    const states = [];
    for (const [time, code] of [
      [1500, 1],
      [2000, 1],
      [2500, 0],
      [3000, 1],
      [3500, 1],
    ] as const) {
      health = nextHealth({ startedAt, health }, check, at(time, code));
      states.push(`${health.state} ${health.failures}`);
    }
    assert.deepEqual(states, [
      'starting 1',
      'unhealthy 2',
      'healthy 0',
      'healthy 1',
      'unhealthy 2',
    ]);
  });

  test('starting, healthy, unhealthy and healthy again, by the check of the image', async (t) => {
    if (!requireContainers(t)) return;
    const ms = 1_000_000;
    await using node = await temporaryNode(() =>
      tinyImage({
        Healthcheck: {
          Test: ['CMD-SHELL', 'umask; test -e /tmp/well || exit 4'],
          Interval: 100 * ms,
          Retries: 2,
        },
      }),
    );
    const { containers } = node;
    const args = shell(
      'trap "rm /tmp/well" USR1; trap "touch /tmp/well" USR2; touch /tmp/well; while :; do sleep 0.1; done',
    );
    await containers.create({ id: 'sick', image: imageName, options: { args } });
    await containers.start('sick');
    const health = () => containers.inspect('sick').health;
    assert.equal(health()?.state, 'starting');
    await until('health', () => health()?.state === 'healthy');
    assert.equal(health()?.last?.output, '0022\n');
    await containers.kill('sick', 'SIGUSR1');
    await until('sickness', () => health()?.state === 'unhealthy');
    assert.equal(health()?.last?.exitCode, 4);
    await containers.kill('sick', 'SIGUSR2');
    await until('health again', () => health()?.state === 'healthy');
    const events = await Array.fromAsync(
      containers.events.read({}, { signal: new AbortController().signal }),
    );
    assert.deepEqual(
      events.flatMap(({ kind, health = '' }) => (kind === 'health' ? [health] : [])),
      ['starting', 'healthy', 'unhealthy', 'healthy'],
    );
  });

  test('is looked after by the next agent', async (t) => {
    if (!requireContainers(t)) return;
    await using agent = await startTestAgent();
    const { client } = agent;
    const healthcheck = { test: ['CMD-SHELL', 'test -e /tmp/well'], interval: 100, retries: 1 };
    const options = { args: shell('sleep 600'), healthcheck };
    await client.containers.create({ id: 'sick', image: imageName, options });
    const { pid } = await client.containers.start('sick');
    const health = async () => (await client.containers.inspect('sick')).health?.state;
    await until('sickness', async () => (await health()) === 'unhealthy');
    await agent.kill();
    await writeFile(`/proc/${pid}/root/tmp/well`, '');
    await agent.start();
    await until('health', async () => (await health()) === 'healthy');
  });

  test('a check that takes too long is ended, and has failed', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode();
    const { containers } = node;
    const healthcheck = { test: ['CMD', 'sleep', '77'], interval: 50, timeout: 300, retries: 1 };
    const options = { args: shell('sleep 60'), healthcheck };
    await containers.create({ id: 'slow', image: imageName, options });
    await containers.start('slow');
    await until('sickness', () => containers.inspect('slow').health?.state === 'unhealthy');
    assert.match(containers.inspect('slow').health?.last?.output ?? '', /took longer than 300 ms/);
    await containers.stop('slow', { timeout: 0 });
  });
});
