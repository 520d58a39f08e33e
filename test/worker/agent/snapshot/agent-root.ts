import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChainID, chainIDs, type DiffID, digestOf } from '../../../../shared/image/digest.ts';
import { NodeDatabase } from '../../../../worker/agent/node-database.ts';
import { Snapshots } from '../../../../worker/agent/snapshot/snapshots.ts';

/** A temporary folder, removed at its disposal. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'dray-agent-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** The snapshots of a root folder, opened as the agent does. */
export async function openRoot(
  root: string,
): Promise<{ snapshots: Snapshots; database: NodeDatabase } & Disposable> {
  const database = NodeDatabase.open(root);
  const snapshots = await Snapshots.open({ root, database });
  return { snapshots, database, [Symbol.dispose]: () => database.close() };
}

export function diffIDOf(text: string): DiffID {
  return digestOf(text) as string as DiffID;
}

/** A stack as {@link commitStack} makes it. */
export function stackOf(names: readonly string[]): { diffID: DiffID; chainID: ChainID }[] {
  const diffIDs = names.map(diffIDOf);
  const chain = chainIDs(diffIDs);
  return diffIDs.map((diffID, index) => ({ diffID, chainID: chain[index] as ChainID }));
}

/** Commits one layer for each name, each with a file of that name and one called `top` that names it. */
export async function commitStack(
  snapshots: Snapshots,
  names: readonly string[],
): Promise<ChainID[]> {
  let parent: ChainID | undefined;
  const chain: ChainID[] = [];
  for (const [index, { diffID, chainID }] of stackOf(names).entries()) {
    const name = names[index] ?? '';
    await using staging = await snapshots.stage(chainID);
    await writeFile(join(staging.directory, name), name);
    await writeFile(join(staging.directory, 'top'), name);
    await mkdir(join(staging.directory, 'folder'));
    const bytes = 2 * name.length;
    await staging.commit({
      ...(parent === undefined ? {} : { parent }),
      diffID,
      bytes,
      entries: 3,
    });
    parent = chainID;
    chain.push(chainID);
  }
  return chain;
}
