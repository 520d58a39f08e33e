import type { IDMap } from '../linux/idmap.ts';
import { bindMount, mountOverlay } from '../linux/mount.ts';
import { mountMappedOverlay } from './mapped-overlay.ts';
import type { Mount } from './snapshot.ts';

/** The folders that an active snapshot or a view is mounted from. */
export interface SnapshotLayout {
  id: number;
  writable: boolean;
  /** Of the layers below, nearest first. */
  lower: string[];
  upper: string;
  work: string;
  /** Its files have other owners where it is mounted. */
  idMap: IDMap | undefined;
}

/** How that is mounted: as an overlay, or as a bind where there is one folder. */
export function mountsOf({ writable, lower, upper, work }: SnapshotLayout): Mount[] {
  const [only] = lower;
  if (lower.length === 0) return [bind(upper, writable)];
  if (!writable && lower.length === 1 && only !== undefined) return [bind(only, false)];
  const options = [`lowerdir=${lower.map(escapeLower).join(':')}`];
  if (writable) {
    options.unshift(`workdir=${escapePath(work)}`, `upperdir=${escapePath(upper)}`);
  }
  return [{ type: 'overlay', source: 'overlay', options: ['index=off', ...options] }];
}

/** Mounts it. @param target a folder's path without symlinks */
export async function mountLayout(
  { writable, lower, upper, work, idMap }: SnapshotLayout,
  target: string,
): Promise<void> {
  const [only] = lower;
  if (lower.length === 0) await bindMount(upper, target, { readOnly: !writable });
  else if (writable && idMap !== undefined)
    await mountMappedOverlay({ lower, upper, work, target }, idMap);
  else if (writable) await mountOverlay({ lower, upper, work, target });
  else if (lower.length === 1 && only !== undefined)
    await bindMount(only, target, { readOnly: true });
  else await mountOverlay({ lower, target });
}

function bind(source: string, writable: boolean): Mount {
  return { type: 'bind', source, options: [writable ? 'rw' : 'ro', 'rbind'] };
}

/** mount(2) splits options at commas. */
function escapePath(path: string): string {
  return path.replaceAll(/[\\,]/g, '\\$&');
}

/** Overlay splits its lower folders at colons. */
function escapeLower(path: string): string {
  return path.replaceAll(/[\\,:]/g, '\\$&');
}
