import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fuzz, targetNames } from './run.ts';

describe('what is parsed from outside', () => {
  for (const target of targetNames) {
    test(`${target}: a thousand mutated inputs of one seed give a result or a DrayError`, async () => {
      const job = { target, seed: 1, from: 0, count: 1000, milliseconds: 0 };
      assert.deepEqual(await fuzz(job), { inputs: 1000, finding: undefined });
    });
  }
});
