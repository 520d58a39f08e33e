import { type BigIntStats, lchownSync, readlinkSync, symlinkSync } from 'node:fs';
import { constants, copyFile } from 'node:fs/promises';
import { changeModeAt, makeNodeAt, setTimesAt } from '../linux/files.ts';
import { getXattr, listXattrs, setXattr } from '../linux/xattr.ts';

/** What setTimesAt takes for "relative to nothing": its paths are absolute. */
const noFolder = -100;

/** Copies what is no folder with all its attributes, as overlayfs does before it changes something. */
export async function copyUp(from: Buffer, stats: BigIntStats, to: Buffer): Promise<void> {
  if (stats.isSymbolicLink()) symlinkSync(readlinkSync(from, { encoding: 'buffer' }), to);
  else if (stats.isFile())
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  else {
    const { major, minor } = deviceOf(stats.rdev);
    makeNodeAt(noFolder, to.toString('latin1'), Number(stats.mode), major, minor);
  }
  copyAttributes(from, stats, to);
}

/** Gives `to` the owner, mode, extended attributes and times of `from`. */
export function copyAttributes(from: Buffer, stats: BigIntStats, to: Buffer): void {
  lchownSync(to, Number(stats.uid), Number(stats.gid));
  for (const name of listXattrs(from)) {
    if (name.toString('latin1').startsWith('trusted.overlay.')) continue;
    const value = getXattr(from, name);
    if (value !== undefined) setXattr(to, name, value);
  }
  const path = to.toString('latin1');
  if (!stats.isSymbolicLink()) changeModeAt(noFolder, path, Number(stats.mode & 0o7777n));
  setTimesOf(to, stats);
}

/** Sets both times to the modification time of `stats`, to the nanosecond. */
export function setTimesOf(path: Buffer, { mtimeNs }: BigIntStats): void {
  const seconds = mtimeNs / 1_000_000_000n;
  setTimesAt(noFolder, path.toString('latin1'), {
    seconds: Number(seconds),
    nanoseconds: Number(mtimeNs - seconds * 1_000_000_000n),
  });
}

/** glibc's gnu_dev_major(3) and minor. */
function deviceOf(device: bigint): { major: number; minor: number } {
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
  };
}
