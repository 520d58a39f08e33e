import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentClient } from '../../../producer/agent/client.ts';
import { contextOf } from '../../../producer/cli/context.ts';
import { unpackStored } from '../../../producer/cli/unpack-stored.ts';
import { loadConfig } from '../../../shared/config/load.ts';
import { requireTool } from '../../support/requirements.ts';
import { digestsOf, openGcBench, prefix } from '../../worker/fleet/gc/store.ts';

test('an image without a name is not collected while dray unpack is at it', async (t) => {
  if (!requireTool(t, 'redis-server')) return;
  await using bench = await openGcBench();
  const image = await bench.put('r/unnamed', ['base', 'top']);
  const other = await bench.put('r/other', ['other']);
  const env = {
    REDIS_URL: bench.url,
    DRAY_REDIS_PREFIX: prefix,
    DRAY_STORE: `folder:${bench.folder}`,
  };
  let during: Set<string> = new Set();
  // What the agent does is not what is tested.
  const unpack = async () => {
    await bench.collect();
    during = await bench.digests();
    return { chainID: 'sha256:1' };
  };
  const agent = { unpack } as unknown as AgentClient;
  const context = { ...contextOf(loadConfig({ env })), agent: async () => agent };
  assert.equal(await unpackStored(context, image.manifest.digest), 'sha256:1');
  assert.deepEqual([...during].sort(), digestsOf(image).sort(), 'the other one went');
  assert.ok(digestsOf(other).every((digest) => !during.has(digest)));
  await bench.collect();
  assert.deepEqual(await bench.digests(), new Set(), 'the lease has ended');
});
