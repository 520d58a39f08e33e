import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { AgentClient } from '../../../../producer/agent/client.ts';
import { startFleet } from '../../../support/fleet.ts';
import { requireRoot, requireTool } from '../../../support/requirements.ts';
import { file, tar } from '../../../support/tar.ts';
import { temporaryFolder } from '../snapshot/agent-root.ts';
import { chunks } from './applying.ts';

test('the limits in the configuration file are those by which an agent applies layers', async (t) => {
  if (!requireRoot(t) || !requireTool(t, 'redis-server', 'runc', 'conmon')) return;
  await using folder = await temporaryFolder();
  const settings = join(folder.path, 'config.json');
  await writeFile(settings, JSON.stringify({ agent: { limits: { maxEntries: 2 } } }));
  await using fleet = await startFleet({ env: { DRAY_CONFIG: settings } });
  await fleet.startAgent('node-a');
  const client = new AgentClient({ socketPath: join(fleet.folder, 'node-a', 'run', 'agent.sock') });
  const apply = async (name: string, ...parts: Buffer[]) => {
    const target = join(folder.path, name);
    await mkdir(target);
    await client.apply(chunks(tar(...parts)), target);
    return await readdir(target);
  };
  assert.deepEqual(await apply('within', file('a'), file('b')), ['a', 'b']);
  await assert.rejects(apply('beyond', file('a'), file('b'), file('c')), {
    code: 'LAYER_LIMIT',
    message: /more than 2 entries/,
  });
});
