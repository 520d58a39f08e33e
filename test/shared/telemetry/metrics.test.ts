import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { startApi } from '../../producer/api/support.ts';
import { startFleet } from '../../support/fleet.ts';
import { pushImage, tarOf } from '../../support/push.ts';
import { startRegistry } from '../../support/registry.ts';
import { requireRoot, requireTool } from '../../support/requirements.ts';

describe('metrics and health', () => {
  test('every program tells what it did, in a form that promtool has nothing against', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server', 'promtool')) return;
    await using registry = await startRegistry();
    await using fleet = await startFleet();
    const [worker, agent, serve] = [await freeAddress(), await freeAddress(), await freeAddress()];
    await fleet.startWorker('w1', { DRAY_METRICS_LISTEN: worker });
    await fleet.startAgent('n1', { DRAY_METRICS_LISTEN: agent });
    await using api = await startApi({ ...fleet.env, DRAY_METRICS_LISTEN: serve });
    const tar = await tarOf([{ name: 'file', content: 'x'.repeat(5000) }]);
    const image = await pushImage(registry.host, 'metrics', 'v1', [tar], { compression: 'none' });
    const { json } = await api.call('POST', '/v1/pulls', {
      body: { reference: image.reference, nodes: ['n1'] },
    });
    assert.equal((await fleet.ended(String(json.id))).state, 'ready');

    const said = await Promise.all([worker, agent, serve].map(scrape));
    const [ofWorker = '', ofAgent = '', ofApi = ''] = said;
    assert.match(ofWorker, /^dray_registry_requests_total\{code="200"\} [1-9]/m);
    assert.match(
      ofWorker,
      /^dray_job_duration_seconds_count\{queue="resolve",outcome="done"\} 1$/m,
    );
    assert.match(ofAgent, /^dray_job_duration_seconds_count\{queue="unpack",outcome="done"\} 1$/m);
    assert.match(ofAgent, /^dray_snapshots\{kind="committed"\} 1$/m);
    assert.match(ofAgent, /^dray_node_disk_free_bytes [1-9]/m);
    assert.match(ofApi, /^dray_nodes\{state="ready"\} 1$/m);
    assert.match(ofApi, /^dray_pulls_open 0$/m);
    assert.match(ofApi, /^dray_queue_oldest_job_seconds\{queue="resolve",state="delayed"\} 0$/m);
    assert.match(ofApi, /^dray_queue_jobs\{queue="unpack",state="waiting"\} 0$/m);
    assert.match(ofApi, /^dray_queue_workers\{queue="fetch-blob"\} 1$/m);
    assert.match(ofApi, /^dray_api_requests_total\{operation="POST \/v1\/pulls",code="202"\} 1$/m);
    for (const each of said) {
      assert.doesNotMatch(each, /sha256|localhost|metrics:v1/, 'a label has unbounded values');
      assert.match(each, /^nodejs_eventloop_lag_p99_seconds [\d.]+$/m);
      assert.deepEqual(await promtool(each), { code: 0, output: '' });
    }
    // The image again, by another name: nothing is fetched, read or unpacked a second time.
    const bytes = (text: string, source: string) =>
      Number(
        new RegExp(`^dray_bytes_total\\{source="${source}"\\} (\\d+)$`, 'm').exec(text)?.[1] ?? 0,
      );
    const fetched = bytes(ofWorker, 'registry');
    assert.ok(fetched > tar.length, 'manifest and config count as well');
    assert.deepEqual([bytes(ofAgent, 'store'), bytes(ofAgent, 'node')], [tar.length, 0]);
    assert.match(ofWorker, /^dray_cached_bytes_total 0$/m);
    const again = await fleet.pull({ reference: image.reference, nodes: ['n1'] });
    const status = await fleet.ended(again);
    const [workerAfter = '', agentAfter = ''] = await Promise.all([worker, agent].map(scrape));
    assert.equal(bytes(workerAfter, 'registry'), fetched);
    const size = status.blobs.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
    assert.match(workerAfter, new RegExp(`^dray_cached_bytes_total ${size}$`, 'm'));
    assert.deepEqual(
      [bytes(agentAfter, 'store'), bytes(agentAfter, 'node')],
      [tar.length, tar.length],
    );
    // Whoever ended a pull measured it, once; its phases add up to the whole.
    const both = workerAfter + agentAfter;
    const total = (name: string) =>
      [...both.matchAll(new RegExp(`^${name} ([\\d.e-]+)$`, 'gm'))].reduce(
        (sum, [, n]) => sum + Number(n),
        0,
      );
    assert.equal(total('dray_pull_duration_seconds_count\\{outcome="ready"\\}'), 2);
    const phases = ['resolve', 'fetch', 'unpack'].map((phase) =>
      total(`dray_pull_phase_duration_seconds_sum\\{phase="${phase}"\\}`),
    );
    const whole = total('dray_pull_duration_seconds_sum\\{outcome="ready"\\}');
    assert.ok(Math.abs(phases.reduce((a, b) => a + b) - whole) < 0.001, `${phases} ${whole}`);
    assert.ok(whole > 0);

    for (const address of [worker, agent, serve]) {
      for (const path of ['livez', 'readyz']) {
        assert.equal((await fetch(`http://${address}/${path}`)).status, 200);
      }
    }
    await fleet.server.kill();
    try {
      assert.equal((await fetch(`http://${worker}/livez`)).status, 200);
      assert.equal((await fetch(`http://${worker}/readyz`)).status, 503);
    } finally {
      await fleet.server.restart();
    }
  });
});

async function scrape(address: string): Promise<string> {
  const response = await fetch(`http://${address}/metrics`);
  assert.equal(response.status, 200);
  return await response.text();
}

async function promtool(metrics: string): Promise<{ code: number | null; output: string }> {
  const child = spawn('promtool', ['check', 'metrics'], { stdio: 'pipe' });
  child.stdin.end(metrics);
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { code: child.exitCode, output: stdout + stderr };
}

async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  assert.ok(typeof address === 'object' && address !== null);
  return `127.0.0.1:${address.port}`;
}
