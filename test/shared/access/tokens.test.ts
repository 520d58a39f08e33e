import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { createToken, readTokens, removeToken } from '../../../shared/access/tokens.ts';
import { copyDisk, makeDisk, mountDisk } from '../../support/disk.ts';
import { requireRoot, requireTool } from '../../support/requirements.ts';
import { temporaryFolder } from '../../worker/agent/snapshot/agent-root.ts';

test('a token that was told made or removed is so after a power cut', async (t) => {
  if (!requireRoot(t) || !requireTool(t, 'mkfs.ext4')) return;
  await using folder = await temporaryFolder();
  const disk = path.join(folder.path, 'disk');
  await makeDisk(disk, '16M');
  const after = ['made', 'removed'].map((name) => path.join(folder.path, name));
  {
    await using mounted = await mountDisk(disk, path.join(folder.path, 'mounted'));
    const file = path.join(mounted.path, 'tokens.json');
    for (const name of ['kept', 'taken']) await createToken(file, { name, scopes: ['read'] });
    await copyDisk(disk, after[0] ?? '');
    await removeToken(file, 'taken');
    await copyDisk(disk, after[1] ?? '');
  }
  const found = [];
  for (const image of after) {
    await using mounted = await mountDisk(image, `${image}-mounted`);
    const tokens = await readTokens(path.join(mounted.path, 'tokens.json'));
    found.push(tokens.map(({ name }) => name));
  }
  assert.deepEqual(found, [['kept', 'taken'], ['kept']]);
});
