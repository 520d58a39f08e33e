import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { takesX32 } from '../../../../worker/agent/linux/x32.ts';

test('a kernel that is built without x32 takes no call of it, and who asks lives on', async (t) => {
  const taken = takesX32();
  assert.equal(takesX32(), taken);
  // Some kernels say how they were built.
  const packed = await readFile('/proc/config.gz').catch(() => undefined);
  const config = packed && (await promisify(gunzip)(packed)).toString();
  if (config === undefined) t.diagnostic(`this kernel does not say how it was built: ${taken}`);
  else if (!/^CONFIG_X86_X32(_ABI)?=y$/m.test(config)) assert.equal(taken, false);
});
