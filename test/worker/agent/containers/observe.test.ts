import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerEvent } from '../../../../shared/agent/observe.ts';
import { DrayError } from '../../../../shared/errors.ts';
import { until } from '../../../support/until.ts';
import { startTestAgent, type TestAgent } from './agent.ts';
import { canRunContainers, imageName, requireContainers } from './node.ts';

const script = (text: string) => ({ args: ['/bin/sh', '-c', text] });

describe('what can be seen of containers', { concurrency: false }, () => {
  let agent: TestAgent;
  before(async () => {
    if (canRunContainers()) agent = await startTestAgent();
  });
  after(async () => await agent?.[Symbol.asyncDispose]());

  async function start(id: string, text: string, more: object = {}): Promise<void> {
    await agent.client.containers.create({
      ...{ id, image: imageName, options: script(text) },
      ...more,
    });
    await agent.client.containers.start(id);
  }

  async function eventsAfter(id: number): Promise<ContainerEvent[]> {
    const { events } = await agent.client.containers.events({ after: id });
    return await Array.fromAsync(events);
  }

  const said = (events: ContainerEvent[]) =>
    events.map(({ kind, container, exitCode }) => [kind, container, exitCode].join(' ').trim());

  test('stats: CPU that is used, memory, processes', async (t) => {
    if (!requireContainers(t)) return;
    await start('busy', 'while :; do :; done');
    await start('idle', 'exec sleep 1000');
    await until('the sleep', async () => {
      const [only] = await agent.client.containers.processes('idle');
      return only?.command === 'sleep 1000';
    });
    const one = await agent.client.containers.stats();
    let two = one;
    const used = (id: string) => {
      const [before, now] = [one, two].map((all) => all.find((stats) => stats.id === id));
      assert.ok(before !== undefined && now !== undefined);
      return (now.cpuNanoseconds - before.cpuNanoseconds) / 1e6;
    };
    await until('CPU that is used', async () => {
      two = await agent.client.containers.stats();
      return used('busy') > 100;
    });
    assert.ok(used('idle') < 50, `${used('idle')} ms`);
    const idle = two.find(({ id }) => id === 'idle');
    assert.ok(idle !== undefined && idle.memoryBytes > 10_000 && idle.memoryBytes < 50_000_000);
    assert.ok(idle.memoryLimitBytes > idle.memoryBytes);
    assert.ok(idle.processes >= 1);
  });

  test('top: the processes of a container and of nothing else', async (t) => {
    if (!requireContainers(t)) return;
    await start('tree', 'sleep 1001 & sleep 1002 & wait');
    // A child is a second shell until it has become what it is to run.
    await until('both', async () => {
      const commands = (await agent.client.containers.processes('tree')).map(
        ({ command }) => command,
      );
      return commands.filter((command) => command.startsWith('sleep')).length === 2;
    });
    const processes = await agent.client.containers.processes('tree');
    assert.deepEqual(processes.map(({ command }) => command).sort(), [
      '/bin/sh -c sleep 1001 & sleep 1002 & wait',
      'sleep 1001',
      'sleep 1002',
    ]);
    const [first] = processes;
    assert.equal(first?.ownPid, 1);
    assert.equal(first?.pid, (await agent.client.containers.inspect('tree')).pid);
    assert.ok(Math.abs(Date.now() - Date.parse(first?.startedAt ?? '')) < 60_000);
    await agent.client.containers.remove('tree', { force: true });
    await assert.rejects(
      agent.client.containers.processes('tree'),
      (error) => error instanceof DrayError && error.code === 'NOT_FOUND',
    );
  });

  test('events: each change once, in order, with ids to go on from; also across a kill of the agent', async (t) => {
    if (!requireContainers(t)) return;
    const begin = (await agent.client.containers.events({})).after;
    const following = await agent.client.containers.events({ follow: true });
    const seen: ContainerEvent[] = [];
    const reading = (async () => {
      for await (const event of following.events) seen.push(event);
    })();
    reading.catch(() => {});
    await start('brief', 'exit 7', { autoRemove: false });
    await agent.client.containers.wait('brief');
    await agent.client.containers.remove('brief');
    await start('killed', 'sleep 1000');
    await agent.client.containers.remove('killed', { force: true });
    const life = ['create brief', 'start brief', 'die brief 7', 'remove brief'].concat([
      'create killed',
      'start killed',
      'die killed 137',
      'remove killed',
    ]);
    await until(
      () => said(seen).join(),
      () => seen.length >= life.length,
    );
    assert.deepEqual(said(seen), life);
    assert.deepEqual(said(await eventsAfter(begin)), life);
    assert.ok(seen.every(({ id }, n) => n === 0 || id > (seen[n - 1]?.id ?? 0)));

    const again = { restart: { name: 'on-failure', maxRetries: 2 } };
    await start('again', 'exit 3', { options: { ...script('exit 3'), ...again } });
    await agent.client.containers.wait('again');
    const starts = (await eventsAfter(begin)).filter(
      ({ kind, container }) => kind === 'start' && container === 'again',
    );
    assert.deepEqual(
      starts.map(({ restarts }) => restarts),
      [undefined, 1, 2],
    );

    await start('lasting', 'sleep 1; exit 9');
    await agent.kill();
    await assert.rejects(reading, DrayError);
    await sleep(1300);
    await agent.start();
    await agent.client.containers.wait('lasting');
    const last = seen.findLast(({ container }) => container === 'killed')?.id ?? 0;
    const missed = said(await eventsAfter(last)).filter((line) => line.includes('lasting'));
    assert.deepEqual(missed, ['create lasting', 'start lasting', 'die lasting 9']);
  });
});
