import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const root = path.resolve(import.meta.dirname, '../../../..');

// Guards what people wait for: an import that looks harmless made each command 80 ms slower.
test('dray run, dray pull and what calls the agent load neither zod nor bullmq, nor the undici and crypto of Node', async () => {
  const program = `
    import { registerHooks } from 'node:module';
    const files = [];
    registerHooks({ load: (url, context, next) => (files.push(url), next(url, context)) });
    await import('./producer/cli/run/run-image.ts');
    await import('./producer/cli/pull.ts');
    await import('./producer/cli/pull-source.ts');
    await import('./producer/cli/attach.ts');
    await import('./producer/embedded/fleet.ts');
    await import('./producer/agent/client.ts');
    console.log(JSON.stringify([...files, ...process.moduleLoadList]));
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', program],
    { cwd: root, maxBuffer: 16 << 20 },
  );
  const loaded = JSON.parse(stdout) as string[];
  assert.ok(loaded.some((name) => name.endsWith('producer/cli/attach.ts')));
  const heavy = loaded.filter((name) =>
    /node_modules\/(zod|bullmq|ioredis)\/|undici|NativeModule (crypto|fs\/promises)$/.test(name),
  );
  assert.deepEqual(heavy, []);
});
