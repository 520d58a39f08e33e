import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { LayerApplier } from '../../../../worker/agent/layer/apply.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { temporaryFolder } from '../snapshot/agent-root.ts';
import { layerOf } from '../unpack/layers.ts';

describe('the threads of a LayerApplier', () => {
  test('those that were started before are those that apply', async (t) => {
    if (!requireRoot(t)) return;
    await using root = await temporaryFolder();
    await using applier = new LayerApplier({ threads: 2 });
    const threads = async () => (await readdir('/proc/self/task')).length;
    const before = await threads();
    applier.warm();
    const warmed = await threads();
    assert.ok(warmed >= before + 6, `${warmed} threads after ${before}`);
    const { blob } = await layerOf({ file: 'content' });
    const layer = async function* () {
      yield blob;
    };
    await applier.apply(layer(), root.path);
    applier.warm();
    assert.ok((await threads()) < warmed + 6);
  });

  // A thread that was ended while it loaded a native library took the process with it: "napi_throw".
  test('are ended at any moment without harm', async () => {
    const module = join(import.meta.dirname, '../../../../worker/agent/layer/apply.ts');
    const script = `
      const { LayerApplier } = await import(${JSON.stringify(module)});
      for (let wait = 0; wait < 240; wait += 24) {
        const applier = new LayerApplier({ threads: 2 });
        applier.warm();
        await new Promise((resolve) => setTimeout(resolve, wait));
        await applier[Symbol.asyncDispose]();
      }`;
    const args = ['--input-type=module', '-e', script];
    // Several at once, so that loading takes long enough to be met.
    const run = () => promisify(execFile)(process.execPath, args, { timeout: 120_000 });
    await Promise.all([run(), run(), run(), run()]);
  });
});
