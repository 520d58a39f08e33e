import { readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

/** A line of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface MountEntry {
  /** `major:minor` of the file system. */
  device: string;
  /** The folder inside the file system that is mounted: not `/` for a bind mount. */
  root: string;
  /** The mount point. */
  target: string;
  type: string;
  /** The file system's options, still escaped by the kernel. */
  superOptions: string;
}

/** The mounts that this process sees, in the order in which they were made. */
export function readMountTable(): MountEntry[] {
  return parseMountTable(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** Parses the text of a mountinfo file; lines that are not of its form are left out. */
export function parseMountTable(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const [before, after] = line.split(' - ', 2);
    const [, , device, root, target] = before?.split(' ') ?? [];
    const [type, , superOptions] = after?.split(' ') ?? [];
    if (device === undefined || root === undefined || target === undefined || !type) return [];
    return [
      {
        device,
        root: unescapeOctal(root),
        target: unescapeOctal(target),
        type,
        superOptions: superOptions ?? '',
      },
    ];
  });
}

/** Whether `path` is `folder` or lies in it. */
export function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** The mounts at `folder` or below, the last made first: the order in which they can be undone. */
export function mountsInside(table: readonly MountEntry[], folder: string): MountEntry[] {
  return table.filter((mount) => isInside(mount.target, folder)).reverse();
}

/**
 * The targets of the mounts that have a folder which `uses` accepts as their source: overlays with it as
 * an upper or lower folder, and binds of it. `near` is a folder on the disk of those folders.
 */
export function mountsUsing(
  table: readonly MountEntry[],
  near: string,
  uses: (folder: string) => boolean,
): string[] {
  const home = table
    .filter((mount) => isInside(near, mount.target))
    .reduce<MountEntry | undefined>(
      (best, mount) =>
        best === undefined || mount.target.length >= best.target.length ? mount : best,
      undefined,
    );
  return table
    .filter((mount) => {
      if (mount.type === 'overlay' && overlayFolders(mount.superOptions).some(uses)) return true;
      if (home === undefined || mount === home || mount.device !== home.device) return false;
      return isInside(mount.root, home.root) && uses(boundFolder(mount, home));
    })
    .map((mount) => mount.target);
}

/** Where the source of a bind mount is seen under another mount of the same file system. */
function boundFolder(mount: MountEntry, home: MountEntry): string {
  return join(home.target, relative(home.root, mount.root));
}

/** The folders that an overlay mount's options name (the kernel writes a comma in a path as octal). */
function overlayFolders(superOptions: string): string[] {
  return superOptions.split(',').flatMap((option) => {
    const at = option.indexOf('=');
    const value = unescapeOctal(option.slice(at + 1));
    switch (at < 0 ? '' : option.slice(0, at)) {
      case 'upperdir':
      case 'lowerdir+':
        return [value];
      case 'lowerdir':
        // Here a colon separates, and one inside a path stands behind a backslash.
        return (value.match(/(?:\\.|[^:\\])+/g) ?? []).map((path) => path.replace(/\\(.)/g, '$1'));
      default:
        return [];
    }
  });
}

/** The kernel writes space, tab, newline, backslash and, in options, comma as three octal digits. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
