import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const module = fileURLToPath(new URL('../../shared/compact-heap.ts', import.meta.url));

test('compactHeap collects what nobody holds any more, in a program that was not started for that', async () => {
  const script = `import { compactHeap } from ${JSON.stringify(module)};
    let isCollected = false;
    const registry = new FinalizationRegistry(() => { isCollected = true; });
    registry.register({}, '');
    // What is in use stays: the turn that made it has to end.
    await new Promise((resolve) => setImmediate(resolve));
    compactHeap();
    const end = Date.now() + 30_000;
    while (!isCollected && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
    console.log(isCollected, typeof globalThis.gc);`;
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...['--input-type=module', '-e', script],
  ]);
  assert.equal(stdout, 'true undefined\n');
});
