import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { LayerApplier } from '../../../../worker/agent/layer/apply.ts';
import { rehearse } from '../../../../worker/agent/layer/rehearsal.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { temporaryFolder } from '../snapshot/agent-root.ts';
import { layerOf } from '../unpack/layers.ts';

describe('the threads of a LayerApplier', () => {
  test('a rehearsal starts those that apply, and leaves nothing, nor what a killed one left', async (t) => {
    if (!requireRoot(t)) return;
    await using root = await temporaryFolder();
    await using applier = new LayerApplier({ threads: 2 });
    const threads = async () => (await readdir('/proc/self/task')).length;
    const before = await threads();
    const folder = join(root.path, 'rehearsal');
    await mkdir(join(folder, '0/folder-0'), { recursive: true });
    await writeFile(join(folder, '0/folder-0/file-0'), 'left');
    await rehearse(applier, { folder, layersAtOnce: 2 }, { signal: AbortSignal.timeout(60_000) });
    const started = await threads();
    assert.ok(started >= before + 6, `${started} threads after ${before}`);
    assert.deepEqual(await readdir(root.path), []);
    const { blob } = await layerOf({ file: 'content' });
    const layer = async function* () {
      yield blob;
    };
    await applier.apply(layer(), root.path);
    assert.ok((await threads()) < started + 6);
  });

  test('a rehearsal that is stopped leaves nothing', async (t) => {
    if (!requireRoot(t)) return;
    await using root = await temporaryFolder();
    await using applier = new LayerApplier({ threads: 2 });
    const folder = join(root.path, 'rehearsal');
    for (const delay of [0, 1, 5, 20, 50]) {
      const signal = AbortSignal.timeout(delay);
      await rehearse(applier, { folder, layersAtOnce: 2 }, { signal }).catch((error: unknown) => {
        assert.equal(error, signal.reason);
      });
      assert.deepEqual(await readdir(root.path), []);
    }
  });

  // A thread that was ended while it loaded a native library took the process with it: "napi_throw".
  test('are ended at any moment without harm', async () => {
    const module = join(import.meta.dirname, '../../../../worker/agent/layer/apply.ts');
    const script = `
      const { rmdirSync } = await import('node:fs');
      const { mkdtemp } = await import('node:fs/promises');
      const { tmpdir } = await import('node:os');
      const { join } = await import('node:path');
      const { LayerApplier } = await import(${JSON.stringify(module)});
      for (let wait = 0; wait < 240; wait += 24) {
        const applier = new LayerApplier({ threads: 2 });
        for (const name of ['a', 'b']) {
          const target = await mkdtemp(join(tmpdir(), 'dray-layer-'));
          applier
            .apply((async function* () { await new Promise(() => {}); })(), target)
            .catch(() => {})
            .finally(() => rmdirSync(target));
        }
        await new Promise((resolve) => setTimeout(resolve, wait));
        await applier[Symbol.asyncDispose]();
      }`;
    const args = ['--input-type=module', '-e', script];
    // Several at once, so that loading takes long enough to be met.
    const run = () => promisify(execFile)(process.execPath, args, { timeout: 600_000 });
    await Promise.all([run(), run(), run(), run()]);
  });
});
