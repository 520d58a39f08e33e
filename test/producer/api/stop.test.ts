import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFleet } from '../../support/fleet.ts';
import { until } from '../../support/until.ts';
import { startApi } from './support.ts';

describe('dray serve that is stopped', () => {
  test('answers what it was asked, ends its streams, and takes nothing more', async () => {
    await using fleet = await startFleet();
    const api = await startApi(fleet.env);
    // Nobody takes it: its stream has no end of its own.
    const id = await fleet.pull({ reference: 'registry.example/a:v1', nodes: [] });
    const stream = await fetch(`${api.url}/v1/pulls/${id}/events`);
    const reading = stream.text();
    process.kill(fleet.server.pid(), 'SIGSTOP');
    const asked = api.call('GET', `/v1/pulls/${id}`);
    // It has read the question by then, also when the machine is busy.
    await sleep(2_000);
    const stopped = performance.now();
    process.kill(api.pid, 'SIGTERM');
    const isDeaf = () =>
      fetch(`${api.url}/livez`).then(
        () => false,
        () => true,
      );
    await until('that it listens no more', isDeaf);
    process.kill(fleet.server.pid(), 'SIGCONT');

    assert.deepEqual([(await asked).status, (await asked).json.id], [200, id]);
    assert.match(await reading, /event: pull\n/);
    await api[Symbol.asyncDispose]();
    assert.ok(performance.now() - stopped < 30_000);
  });
});
