/** A process to be killed: commits layer after layer, then mounts an active snapshot, saying where it is. Arguments: the root folder. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChainID } from '../../../../shared/image/digest.ts';
import { openRoot, stackOf } from './agent-root.ts';

const { snapshots } = await openRoot(process.argv[2] ?? '');
const layers = stackOf(Array.from({ length: 40 }, (_, index) => `layer-${index}`));
let parent: ChainID | undefined;
for (const { chainID, diffID } of layers) {
  if (snapshots.committed(chainID) === undefined) {
    await using staging = await snapshots.stage(chainID);
    console.log('staged');
    for (let i = 0; i < 20; i++) {
      await mkdir(join(staging.directory, `${i}`));
      await writeFile(join(staging.directory, `${i}`, 'file'), diffID);
      if (i === 10) console.log('applying');
    }
    console.log('applied');
    await staging.commit({
      ...(parent === undefined ? {} : { parent }),
      diffID,
      bytes: 1,
      entries: 40,
      rebase: async () => {
        console.log('rebasing');
        await writeFile(join(staging.directory, 'rebased'), diffID);
      },
    });
    console.log('committed');
  }
  parent = chainID;
}
await snapshots.prepare('box', parent);
console.log('prepared');
await snapshots.mount('box', join(process.argv[2] ?? '', 'rootfs'));
console.log('mounted');
await sleep(60_000);
