import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { LayerApplier } from '../../worker/agent/layer/apply.ts';
import { startContainerd } from '../support/containerd.ts';
import { compareStack } from '../support/layer-compare.ts';
import { oracleTools } from '../support/layer-oracles.ts';
import { layerStacks, showStack } from '../support/layer-stack.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';

const fixedSeed = 20_240_501;
/** For a long dose, and for one stack of a failure again. */
const stacks = Number(process.env.DRAY_TEST_STACKS ?? 26);
const givenSeed = process.env.DRAY_TEST_SEED;
const path = process.env.DRAY_TEST_PATH;

describe('random stacks of layers', () => {
  test('give the same tree in parallel as one after the other', async (t) => {
    if (!requireRoot(t) || !requireTool(t, ...oracleTools)) return;
    await using containerd = await startContainerd();
    await using applier = new LayerApplier({ threads: 2 });
    const seeds = givenSeed === undefined ? [fixedSeed, randomInt(2 ** 31)] : [Number(givenSeed)];
    for (const seed of seeds) {
      const counts = { same: 0, refused: 0 };
      t.diagnostic(`seed ${seed}`);
      const property = fc.asyncProperty(layerStacks, async (stack) => {
        const result = await compareStack(stack, containerd, applier);
        counts[result]++;
      });
      await fc.assert(property, {
        seed,
        numRuns: Math.ceil(stacks / seeds.length),
        ...(path === undefined ? {} : { path }),
        interruptAfterTimeLimit: stacks > 100 ? 3_600_000 : 120_000,
        markInterruptAsFailure: true,
        reporter: ({ failed, seed, counterexamplePath, counterexample, errorInstance }) => {
          if (!failed) return;
          const [stack] = counterexample ?? [[]];
          const message = errorInstance instanceof Error ? errorInstance.message : '';
          throw new Error(
            `DRAY_TEST_SEED=${seed} DRAY_TEST_PATH=${counterexamplePath}\n${message}\n${showStack(stack)}`,
          );
        },
      });
      t.diagnostic(`${counts.same} the same, ${counts.refused} refused by all`);
      // Otherwise the property would be about nothing.
      assert.ok(
        counts.same >= 4 * counts.refused || path !== undefined,
        'most stacks are accepted',
      );
    }
  });
});
