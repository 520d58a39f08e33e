import { closeSync } from 'node:fs';
import { chown, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bindMapped, type IDMap, openUserNamespace } from '../linux/idmap.ts';
import { mountOverlay, type OverlayMount, unmount } from '../linux/mount.ts';

/** The label of an active snapshot that is mounted with other ids: `CONTAINERID:HOSTID:SIZE`. */
export const idMapLabel = 'idmap';

export function formatIDMap({ containerID, hostID, size }: IDMap): string {
  return `${containerID}:${hostID}:${size}`;
}

export function parseIDMap(text: string | undefined): IDMap | undefined {
  const [containerID, hostID, size] = (text ?? '').split(':').map(Number);
  if (containerID === undefined || hostID === undefined || size === undefined) return undefined;
  return { containerID, hostID, size };
}

/**
 * Mounts an overlay in which what is 0 in the layers is the first id of a map: the layers by ID-mapped mounts,
 * which only the overlay holds on to; what is written has the mapped ids on disk.
 * @throws an Error with the errno's name as `code`: EINVAL where the kernel or file system has no such mounts
 */
export async function mountMappedOverlay(
  overlay: OverlayMount & { upper: string },
  map: IDMap,
): Promise<void> {
  const { upper, lower } = overlay;
  const { uid, gid } = await stat(upper);
  const mapped = (id: number) => (id < map.size ? map.hostID + id - map.containerID : id);
  await chown(upper, mapped(uid), mapped(gid));
  const folder = await mkdtemp(join(dirname(upper), 'mapped-'));
  const places: string[] = [];
  const namespace = await openUserNamespace(map);
  try {
    for (const [index, layer] of lower.entries()) {
      const place = join(folder, String(index));
      await mkdir(place);
      bindMapped(layer, place, namespace);
      places.push(place);
    }
    await mountOverlay({ ...overlay, lower: places });
  } finally {
    closeSync(namespace);
    for (const place of places) await unmount(place);
    await rm(folder, { recursive: true, force: true });
  }
}
