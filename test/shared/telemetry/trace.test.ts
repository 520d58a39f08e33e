import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startApi } from '../../producer/api/support.ts';
import { dray } from '../../producer/cli/dray.ts';
import { type CollectedSpan, startCollector } from '../../support/collector.ts';
import { startFleet } from '../../support/fleet.ts';
import { pushImage, tarOf } from '../../support/push.ts';
import { startRegistry } from '../../support/registry.ts';
import { requireRoot, requireTool } from '../../support/requirements.ts';

describe('traces', () => {
  test('one trace from the call through resolve, fetch and unpack to the layers', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
    await using collector = await startCollector();
    await using registry = await startRegistry();
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: '100' };
    await using fleet = await startFleet({ env });
    const worker = await fleet.startWorker('w1');
    await fleet.startAgent('n1');
    const layers = await Promise.all(
      ['a', 'b'].map((name) => tarOf([{ name, content: name.repeat(3000) }])),
    );
    const image = await pushImage(registry.host, 'traced', 'v1', layers, { compression: 'none' });

    {
      await using api = await startApi(fleet.env);
      const caller = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`;
      const { json } = await api.call('POST', '/v1/pulls', {
        headers: { traceparent: caller },
        body: { reference: image.reference, nodes: ['n1'] },
      });
      assert.equal((await fleet.ended(String(json.id))).state, 'ready');
      await collector.until((spans) => spans.some(isNamed('process unpack@n1')));
    }
    const ofApi = collector.spans.filter(({ traceId }) => traceId === 'ab'.repeat(16));
    assertWhole(ofApi, 'POST /v1/pulls', 'cd'.repeat(8));
    const fetches = ofApi.filter(isNamed('fetch')).map(({ attributes }) => attributes.digest);
    const digests = image.layers.map(({ digest }) => digest as string);
    assert.deepEqual(fetches.toSorted(), digests.toSorted());
    const asked = ofApi.filter(({ name }) => name === 'GET' || name === 'HEAD');
    assert.ok(asked.some(({ attributes }) => attributes['http.response.status_code'] === 200));
    assert.deepEqual(
      new Set(ofApi.map(({ service }) => service)),
      new Set(['drayage-serve', 'drayage-worker', 'drayage-agent']),
    );
    // The queues' polling, and a fleet with nothing to do, are no traces.
    const others = collector.spans.filter(({ traceId }) => traceId !== 'ab'.repeat(16));
    assert.deepEqual(others, []);

    // The same by the command: a trace of its own, which finds everything there.
    const pulled = await dray(['pull', '--node', 'n1', image.reference], { env: fleet.env });
    assert.equal(pulled.code, 0, pulled.stderr);
    await collector.until((spans) => spans.filter(isNamed('process unpack@n1')).length === 2);
    const ofCli = collector.spans.filter(({ traceId }) => traceId !== 'ab'.repeat(16));
    assertWhole(ofCli, 'dray pull', undefined);
    assert.equal(ofCli.filter(isNamed('fetch')).length, 0);

    // A line of the log leads to its trace.
    await fleet.pull({ reference: `${registry.host}/traced:gone`, nodes: ['n1'] });
    await collector.until((spans) => spans.filter(isNamed('process resolve')).length === 3);
    const failed = (await worker.log()).split('\n').find((line) => line.includes('"job failed"'));
    const { trace_id, pull, job } = JSON.parse(failed ?? '{}') as Record<string, string>;
    assert.equal(pull, job);
    const named = collector.spans.filter(({ traceId }) => traceId === trace_id);
    assert.ok(named.some(isNamed('process resolve')), failed);
  });
});

function isNamed(wanted: string): (span: CollectedSpan) => boolean {
  return ({ name }) => name === wanted;
}

/** Every span is below another one, up to the call's; and each step is below the one that asked for it. */
function assertWhole(spans: CollectedSpan[], root: string, above: string | undefined): void {
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  assert.equal(new Set(spans.map(({ traceId }) => traceId)).size, 1);
  for (const span of spans) {
    if (span.name === root) assert.equal(span.parentSpanId || undefined, above);
    else assert.ok(byId.has(span.parentSpanId ?? ''), `${span.name} has nothing above it`);
  }
  const pathOf = (span: CollectedSpan | undefined): string[] =>
    span === undefined ? [] : [...pathOf(byId.get(span.parentSpanId ?? '')), span.name];
  const layers = spans.filter(isNamed('layer'));
  assert.equal(layers.length, 2);
  assert.deepEqual(pathOf(layers[0]), [
    root,
    'add resolve.resolve',
    'process resolve',
    'add unpack@n1.unpack',
    'process unpack@n1',
    'layer',
  ]);
}
