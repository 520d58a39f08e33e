import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RegistryLimits } from '../../shared/registry/limits.ts';
import { dray } from '../producer/cli/dray.ts';
import { startFleet, type TestFleet } from '../support/fleet.ts';
import { startLimitedRegistry } from '../support/limited-registry.ts';
import { pushImage, tarOf } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';

/** Requests that two workers can have under way: on their way to the registry they may come closer together. */
const inFlight = 24;
/** More than a second's several times over. `npm run test:limits` takes 1,000, which are 20 s, and looks at the time. */
const tags = Number(process.env.DRAY_TEST_TAGS ?? 200);
const isWholeDose = process.env.DRAY_TEST_TAGS !== undefined;

describe('limits of a registry, with two workers', () => {
  let fleet: TestFleet;
  let limits: RegistryLimits;

  before(async () => {
    fleet = await startFleet();
    limits = new RegistryLimits(fleet.redis, fleet.config.redis.prefix);
    await Promise.all([fleet.startWorker('w1'), fleet.startWorker('w2')]);
  });
  after(async () => fleet[Symbol.asyncDispose]());

  test(`${tags} tags at 50 requests a second: none fails, the limit holds, another registry goes on`, async (t) => {
    await using limited = await startLimitedRegistry({ tags, perSecond: 50 + inFlight });
    await using other = await startRegistry();
    const image = await pushImage(other.host, 'other', 'v1', [await tarOf([{ name: 'file' }])]);
    await limits.set(limited.registry.host, { requestsPerSecond: 50 });
    const begun = performance.now();
    const ids = await Promise.all(
      limited.references.map((reference) => fleet.pull({ reference, nodes: [], priority: 'low' })),
    );
    const elsewhere = await fleet.ended(
      await fleet.pull({ reference: image.reference, nodes: [] }),
    );
    const passed = performance.now() - begun;
    assert.equal(elsewhere.state, 'ready');
    const openAfter = await fleet.redis.zcard(`${fleet.config.redis.prefix}:dray:open`);
    // Enqueueing takes a slow machine longer than the limit does.
    assert.ok(openAfter > (isWholeDose ? tags / 2 : 0), `${openAfter} pulls were still open`);
    for (const id of ids) {
      const status = await fleet.ended(id, 120_000);
      assert.equal(status.state, 'ready', JSON.stringify(status.error));
    }
    const seconds = (performance.now() - begun) / 1000;
    const needed = limited.asked.length / 50;
    t.diagnostic(
      `${limited.asked.length} requests in ${seconds.toFixed(1)} s: ${(seconds / needed).toFixed(2)} of what the limit needs; ` +
        `${limited.most()} in the busiest second, ${limited.asked.filter((a) => a.refused).length} refused; the other registry's pull took ${Math.round(passed)} ms`,
    );
    if (isWholeDose) assert.ok(seconds <= 1.2 * needed, `${seconds} s where ${needed} are needed`);
    assert.ok(limited.most() <= 50 + inFlight, `${limited.most()} requests in a second`);
  });

  async function noteOfAny(ids: string[]): Promise<string | undefined> {
    for (;;) {
      const open = (await Promise.all(ids.map((id) => fleet.pulls.get(id)))).filter(
        (status) => status?.state !== 'ready',
      );
      const found = open.find((status) => status?.note !== undefined);
      if (found !== undefined || open.length === 0) return found?.note;
      await sleep(100);
    }
  }

  test('16. without limits set, 429 stops both workers until the registry may be asked again', async (t) => {
    await using limited = await startLimitedRegistry({
      ...{ tags: 30, perSecond: 20, refusal: { 'retry-after': '4' } },
    });
    const ids = await Promise.all(
      limited.references.map((reference) => fleet.pull({ reference, nodes: [] })),
    );
    for (const id of ids) {
      const status = await fleet.ended(id);
      assert.equal(status.state, 'ready', JSON.stringify(status.error));
    }
    const { asked } = limited;
    const first = asked.find(({ refused }) => refused)?.at ?? Number.NaN;
    // What was under way when the answer came is let go.
    const during = asked.filter(({ at }) => at > first + 2_000 && at < first + 3_950);
    t.diagnostic(
      `${asked.length} requests, ${asked.filter(({ refused }) => refused).length} refused`,
    );
    assert.ok(first > 0, 'nothing was refused');
    assert.equal(during.length, 0, JSON.stringify(during.map(({ at }) => at - first)));
  });

  for (const [name, quota] of [
    ['RateLimit', (left: number) => ({ ratelimit: `"default";r=${left};t=1` })],
    [
      'RateLimit-Remaining as Docker Hub has it',
      (left: number) => ({ 'ratelimit-limit': '20;w=1', 'ratelimit-remaining': `${left};w=1` }),
    ],
  ] as const) {
    test(`without limits set, ${name} is heeded by both workers: little or nothing is refused`, async (t) => {
      await using limited = await startLimitedRegistry({ tags: 40, perSecond: 20, quota });
      // One pull before, so that both know.
      const [first = '', ...rest] = limited.references;
      await fleet.ended(await fleet.pull({ reference: first, nodes: [] }));
      const ids = await Promise.all(rest.map((reference) => fleet.pull({ reference, nodes: [] })));
      for (const id of ids) {
        const status = await fleet.ended(id);
        assert.equal(status.state, 'ready', JSON.stringify(status.error));
      }
      const refused = limited.asked.filter((one) => one.refused).length;
      const known = name === 'RateLimit';
      t.diagnostic(`${limited.asked.length} requests, ${refused} refused`);
      // Where nobody knows until when, one after the other tries.
      assert.ok(refused <= (known ? 0 : 3), `${refused} were refused`);
      if (known) return;
      const shown = await dray(['registry', 'limits', limited.registry.host], { env: fleet.env });
      assert.match(shown.stdout, / \d+ of 20 +(-|until .*)\n$/, shown.stdout);
    });
  }

  test('what a registry says is left is shared out over its window: bulk waits in the queue, a person and few blobs do not', async (t) => {
    const requests = 40;
    const windowMs = 6_000;
    const quota = (left: number, resetMs: number) => ({
      'ratelimit-policy': `"default";q=${requests};w=${windowMs / 1000}`,
      ratelimit: `"default";r=${left};t=${Math.ceil(resetMs / 1000)}`,
    });
    await using limited = await startLimitedRegistry({
      ...{ tags: 52, perSecond: requests, windowMs, quota },
    });
    const [few = '', person = '', ...bulk] = limited.references;
    const begun = performance.now();
    const first = await fleet.pull({ reference: few, nodes: [], priority: 'low' });
    for await (const { note } of fleet.pulls.watch(first)) {
      assert.equal(note, undefined, 'what the quota is enough for was held up');
    }
    const ids = await Promise.all(
      bulk.map((reference) => fleet.pull({ reference, nodes: [], priority: 'low' })),
    );
    const note = await noteOfAny(ids);
    assert.match(
      note ?? '',
      /^waiting until .*Z: localhost:\d+ says that \d+ more requests are left/,
    );
    const before = performance.now();
    assert.equal(
      (await fleet.ended(await fleet.pull({ reference: person, nodes: [], priority: 'high' })))
        .state,
      'ready',
    );
    const passed = performance.now() - before;
    const open = (await Promise.all(ids.map((id) => fleet.pulls.get(id)))).filter(
      (status) => status?.state !== 'ready',
    );
    assert.ok(open.length > 10, `${open.length} bulk pulls were open when the person's was done`);
    for (const id of ids) {
      const status = await fleet.ended(id, 60_000);
      assert.equal(status.state, 'ready', JSON.stringify(status.error));
    }
    const refused = limited.asked.filter((one) => one.refused).length;
    const windows = limited.asked.length / requests;
    const took = (performance.now() - begun) / windowMs;
    t.diagnostic(
      `${limited.asked.length} requests, ${windows.toFixed(1)} windows' worth, in ${took.toFixed(1)} windows; ${refused} refused; ` +
        `the person's pull took ${Math.round(passed)} ms beside ${open.length} others`,
    );
    assert.equal(refused, 0, `${refused} were refused`);
  });

  test('limits are changed while pulls wait for them', async () => {
    await using limited = await startLimitedRegistry({ tags: 3, perSecond: 1_000 });
    const { host } = limited.registry;
    const set = async (...args: string[]) => {
      const ended = await dray(['registry', 'limits', host, ...args], { env: fleet.env });
      assert.equal(ended.code, 0, ended.stderr);
      return ended.stdout;
    };
    await set('--rate', '0.25');
    const ids = await Promise.all(
      limited.references.map((reference) => fleet.pull({ reference, nodes: [] })),
    );
    await Promise.race(ids.map((id) => fleet.ended(id)));
    const note = await noteOfAny(ids);
    assert.match(note ?? '', /^waiting until \d{4}-.*Z: localhost:\d+ may be asked /);
    const before = performance.now();
    const shown = await set('--rate', '1000', '--concurrent', '1', '--bandwidth', '50M');
    assert.match(shown, /1000\/s +- +1 +47\.7 MiB\/s +- +- +-\n$/);
    for (const id of ids) assert.equal((await fleet.ended(id)).state, 'ready');
    // Five requests were sixteen seconds; those that were told a time come at it, of which the last is the eighth.
    assert.ok(performance.now() - before < 14_000);
    assert.doesNotMatch(await set('--clear'), new RegExp(host));
    const wrong = await dray(['registry', 'limits', host, '--bandwidth', '10'], { env: fleet.env });
    assert.equal(wrong.code, 2, wrong.stderr);
  });
});
