import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { keysOf } from '../../shared/queue/names.ts';
import { startFleet } from '../support/fleet.ts';
import type { TestProgram } from '../support/programs.ts';
import { pushImage, randomLayer } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';
import { startSlowLink } from '../support/slow-link.ts';

/** Milliseconds that a program has to hand back its work in, with some for a busy machine. */
const stopBound = 15_000;
const rounds = 2;
const images = 12;
const layerBytes = 1_500_000;

describe('a rolling restart', () => {
  test('of all workers and the agent under load loses no pull, fails none, and fetches little twice', async (t) => {
    if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
    await using registry = await startRegistry();
    await using link = await startSlowLink(registry.host, { bytesPerSecond: 40_000 });
    const references = await Promise.all(
      Array.from({ length: images }, async (_, i) => {
        const tar = await randomLayer(layerBytes, `file-${i}`);
        await pushImage(registry.host, `rolling-${i}`, 'v1', [tar], { compression: 'none' });
        return `${link.host}/rolling-${i}:v1`;
      }),
    );
    await using fleet = await startFleet();
    const start = {
      w1: () => fleet.startWorker('w1'),
      w2: () => fleet.startWorker('w2'),
      n1: () => fleet.startAgent('n1'),
    };
    const running = new Map<string, TestProgram>();
    for (const [name, begin] of Object.entries(start)) running.set(name, await begin());

    const ids = await Promise.all(
      references.map((reference) => fleet.pull({ reference, nodes: ['n1'] })),
    );
    const ended = Promise.all(ids.map((id) => fleet.ended(id, 90_000)));
    const stops: (number | null)[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const [name, begin] of Object.entries(start)) {
        await sleep(150);
        const stopped = performance.now();
        stops.push((await running.get(name)?.stop()) ?? null);
        assert.ok(performance.now() - stopped < stopBound, `${name} took too long to stop`);
        running.set(name, await begin());
      }
    }
    assert.ok(
      (await fleet.redis.zcard(keysOf(fleet.config.redis.prefix).open)) > 0,
      'no load was left',
    );
    link.setRate(1e9);
    const states = (await ended).map(({ state, error }) => [state, error?.message]);
    assert.deepEqual(
      states,
      references.map(() => ['ready', undefined]),
    );
    assert.deepEqual(new Set(stops), new Set([0]));
    for (const name of ['w1', 'w2', 'n1']) {
      // Handed back, not failed or retried.
      assert.doesNotMatch((await running.get(name)?.log()) ?? '', /job failed|could not hand back/);
    }
    // Each restart costs at most what was on its way and not stored yet.
    const whole = images * layerBytes;
    t.diagnostic(`${stops.length} restarts, ${link.passed()} bytes passed for ${whole}`);
    assert.ok(link.passed() < whole * 1.5, `${link.passed()} bytes for ${whole}`);
  });
});
