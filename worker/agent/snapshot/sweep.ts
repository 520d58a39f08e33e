import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { unmount } from '../linux/mount.ts';
import { removeTree } from './folders.ts';
import { isInside, mountsInside, mountsUsing, readMountTable } from './mount-table.ts';
import type { Snapshot } from './snapshot.ts';
import type { SnapshotRows } from './snapshot-rows.ts';

/** What a sweep removed. */
export interface SweepReport {
  /** Mount points. */
  mounts: string[];
  /** Names of snapshots. */
  snapshots: string[];
  /** Paths. */
  folders: string[];
}

export interface SweepOptions {
  /** The folder that holds one folder for each snapshot; the agent's root is around it. */
  folder: string;
  rows: SnapshotRows;
  /** Whether somebody in this process works on a folder that has no row. */
  isInUse: (id: number) => boolean;
  /** Whether a container needs what is mounted there. */
  isClaimed: (target: string) => boolean;
  signal?: AbortSignal;
}

/** See Snapshots.sweep. In an order in which a second sweep finishes what a crash in the first left. */
export async function sweepSnapshots(options: SweepOptions): Promise<SweepReport> {
  const mounts = await sweepMounts(options);
  const snapshots = await sweepRows(options);
  const folders = await sweepFolders(options);
  return { mounts, snapshots, folders };
}

async function sweepMounts({ folder, rows, isClaimed, signal }: SweepOptions): Promise<string[]> {
  const root = dirname(folder);
  const recorded = new Set(rows.targets());
  signal?.throwIfAborted();
  const table = readMountTable();
  // A disk that somebody mounted under the root shows no folder of a snapshot, and stays.
  const ours = new Set(mountsUsing(table, folder, (source) => isInside(source, folder)));
  const doomed = table
    .map(({ target }) => target)
    .filter((target) => recorded.has(target) || (ours.has(target) && isInside(target, root)))
    .filter((target) => !isClaimed(target))
    .reverse();
  for (const target of doomed) await unmount(target);
  const left = new Set(readMountTable().map(({ target }) => target));
  for (const target of recorded) if (!left.has(target)) rows.forgetMount(target);
  return doomed;
}

async function sweepRows({ folder, rows, signal }: SweepOptions): Promise<string[]> {
  const present = new Set(await readdir(folder));
  signal?.throwIfAborted();
  const table = readMountTable();
  const snapshots = rows.list();
  const children = Map.groupBy(snapshots, ({ parent }) => parent as string | undefined);
  const removed: string[] = [];
  for (const snapshot of snapshots) {
    if (!present.has(String(snapshot.id))) take(snapshot);
  }
  rows.delete(removed);
  return removed;

  /** Takes a snapshot after those that stand on it; one that is mounted still, and what it stands on, stays. */
  function take(snapshot: Snapshot): boolean {
    if (removed.includes(snapshot.name)) return true;
    const own = join(folder, String(snapshot.id), 'fs');
    if (mountsUsing(table, own, (source) => source === own).length > 0) return false;
    const above = (children.get(snapshot.name) ?? []).map(take);
    if (above.includes(false)) return false;
    removed.push(snapshot.name);
    return true;
  }
}

async function sweepFolders({ folder, rows, isInUse, signal }: SweepOptions): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await readdir(folder)) {
    signal?.throwIfAborted();
    const id = Number(name);
    const isKnown = String(id) === name && (rows.has(id) || isInUse(id));
    if (isKnown) continue;
    const path = join(folder, name);
    if (mountsInside(readMountTable(), path).length > 0) continue;
    await removeTree(path);
    removed.push(path);
  }
  return removed;
}
