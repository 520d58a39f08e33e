import { closeFile, type FileTime } from '../linux/files.ts';
import { pathOf } from './paths.ts';

/** What a folder's entry says; it is set when all that is inside was made. */
export interface FolderAttributes {
  mode: number;
  uid: number;
  gid: number;
  mtime: FileTime;
  xattrs: ReadonlyMap<string, Buffer> | undefined;
}

/** A real folder that this tree made itself. */
export interface Folder {
  readonly path: string;
  readonly name: string;
  readonly parent: Folder | undefined;
  readonly depth: number;
  /** Undefined while no entry named it. */
  attributes: FolderAttributes | undefined;
  /** Hides what lower layers have in it. */
  opaque: boolean;
  /** Stands where the layer deleted something first: it has nothing of a lower folder. */
  fresh: boolean;
  /** Whether the layer has an entry for it or in it other than deletions. */
  stated: boolean;
  /** The group that it has as long as no entry says one. */
  gid: number;
  /** Whether that is its parent's below, if there is one with setgid. */
  inherits: boolean;
  /** Names of hard links in it to what is not in the layer; some may have been replaced since. */
  links: Set<string> | undefined;
  fd: number;
}

/** A folder that no entry named so far. @param isAnew stands where the layer had something else, or deleted it */
export function newFolder(name: string, parent: Folder | undefined, isAnew: boolean): Folder {
  return {
    path: parent === undefined ? '' : pathOf(parent.path, name),
    name,
    parent,
    depth: parent === undefined ? 0 : parent.depth + 1,
    attributes: undefined,
    opaque: isAnew,
    fresh: isAnew,
    stated: false,
    gid: 0,
    inherits: false,
    links: undefined,
    fd: -1,
  };
}

/** Whether the folder takes its attributes from a lower one that it merges with. */
export function mayMerge(folder: Folder): boolean {
  if (folder.attributes !== undefined || folder.fresh) return false;
  return folder.parent === undefined || !isHidden(folder.parent);
}

/** Whether what lower layers have in a folder is hidden. */
export function isHidden(folder: Folder): boolean {
  for (let each: Folder | undefined = folder; each !== undefined; each = each.parent) {
    if (each.opaque) return true;
  }
  return false;
}

/** Notes that the layer has an entry for it, or in it. */
export function state(folder: Folder): void {
  for (let each: Folder | undefined = folder; each && !each.stated; each = each.parent) {
    each.stated = true;
  }
}

export function closeFolder(folder: Folder): void {
  if (folder.fd >= 0) closeFile(folder.fd);
  folder.fd = -1;
}
