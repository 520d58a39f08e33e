import { closeSync, constants, openSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { calledAside, checked, cPath, libc, type Path, systemError } from './libc.ts';

const cMount = libc.func(
  'int mount(const void *source, const void *target, const char *type, unsigned long flags, const void *data)',
);
const cUmount = libc.func('int umount2(const void *target, int flags)');
const cChdir = libc.func('int chdir(const void *path)');
const cFchdir = libc.func('int fchdir(int fd)');

/** Flags of mount(2). */
export const MountFlag = {
  readOnly: 0x1,
  noSuid: 0x2,
  noDev: 0x4,
  noExec: 0x8,
  remount: 0x20,
  bind: 0x1000,
  recursive: 0x4000,
  private: 0x40000,
} as const;

const detach = 0x2;
/** mount(2) takes at most one page of options. */
const maxData = 4095;

export interface OverlayMount {
  /** Absolute folders, top first. */
  lower: readonly string[];
  /** Absolute; without it the mount is read-only. */
  upper?: string;
  /** Absolute, empty, on the file system of `upper`. */
  work?: string;
  /** Absolute. */
  target: string;
  /** Further options of overlayfs. Default: `index=off`. */
  options?: readonly string[];
}

/** mount(2) itself. @throws an Error with the errno's name as `code` */
export function mount(
  source: Path,
  target: Path,
  type: string | null,
  flags: number,
  data?: Path,
): void {
  const result = cMount(
    cPath(source),
    cPath(target),
    type,
    flags,
    data === undefined ? null : cPath(data),
  );
  checked(result, 'mount', target);
}

/**
 * Mounts an overlay. The lower folders are named relative to the folder that holds them all, so that a
 * hundred of them fit into the one page of options.
 * @throws an Error with the errno's name as `code`; E2BIG when the names don't fit
 */
export async function mountOverlay(overlay: OverlayMount): Promise<void> {
  const { lower, upper, work, target, options = ['index=off'] } = overlay;
  const base = commonFolder(lower);
  const below = lower.map((folder) => escapeOption(relative(base, folder) || '.', /[\\,:]/g));
  const data = [
    ...options,
    ...(upper === undefined ? [] : [`upperdir=${escapeOption(upper, /[\\,]/g)}`]),
    ...(work === undefined ? [] : [`workdir=${escapeOption(work, /[\\,]/g)}`]),
    `lowerdir=${below.join(':')}`,
  ].join(',');
  if (Buffer.byteLength(data) > maxData) throw systemError('mount', 7, target);
  const flags = upper === undefined ? MountFlag.readOnly : 0;
  inFolder(base, () => mount('overlay', target, 'overlay', flags, data));
}

/** Makes the tree at `source` visible at `target` too. */
export async function bindMount(
  source: Path,
  target: Path,
  options: { readOnly?: boolean } = {},
): Promise<void> {
  mount(source, target, null, MountFlag.bind | MountFlag.recursive);
  if (!options.readOnly) return;
  try {
    mount('none', target, null, MountFlag.bind | MountFlag.remount | MountFlag.readOnly);
  } catch (error) {
    await unmount(target);
    throw error;
  }
}

/**
 * Takes the uppermost mount at `target` away: at once from the tree, and entirely when its last user is gone.
 * A symlink at `target` is not followed.
 */
export async function unmount(target: Path): Promise<void> {
  const noFollow = 0x8;
  await calledAside(cUmount, [cPath(target), detach | noFollow], 'umount2', target);
}

/**
 * Runs `work` with `folder` as the working directory. The working directory is the whole process's: nothing
 * else runs on this thread meanwhile, and nothing in the agent names files relative to it.
 */
function inFolder(folder: string, work: () => void): void {
  const before = openSync('.', constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    checked(cChdir(cPath(folder)), 'chdir', folder);
    try {
      work();
    } finally {
      checked(cFchdir(before), 'fchdir');
    }
  } finally {
    closeSync(before);
  }
}

function commonFolder(folders: readonly string[]): string {
  const [first = sep] = folders;
  let common = dirname(first);
  while (!folders.every((folder) => folder.startsWith(join(common, sep)))) common = dirname(common);
  return common;
}

/** Overlayfs takes a backslash away before any character; `special` are those that would end the value. */
function escapeOption(path: string, special: RegExp): string {
  return path.replace(special, '\\$&');
}
