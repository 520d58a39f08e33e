/** A process to be traced or killed: commits one layer. Arguments: the root folder. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openRoot, stackOf } from './agent-root.ts';

const { snapshots } = await openRoot(process.argv[2] ?? '');
const [layer] = stackOf(['layer']);
if (layer === undefined) throw new Error('a stack has a layer');
await using staging = await snapshots.stage(layer.chainID);
console.log('staged');
await mkdir(join(staging.directory, 'folder'));
await writeFile(join(staging.directory, 'folder', 'file'), 'content');
await staging.commit({
  diffID: layer.diffID,
  bytes: 7,
  entries: 2,
  rebase: () => writeFile(join(staging.directory, 'rebased'), 'content'),
});
console.log('committed');
