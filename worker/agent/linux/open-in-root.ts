import { constants } from 'node:fs';
import koffi from 'koffi';
import { cPath, libc, type Path, systemError } from './libc.ts';

const cOpenat2 = libc.func(
  'long syscall(long number, int dir, const void *path, const void *how, unsigned long size)',
);
/** The same on all architectures. */
const openat2 = 437;
/** RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS. */
const resolve = 0x10 | 0x02;
const closeOnExec = 0o2000000;
/** O_PATH: names a file without opening it for anything. */
export const pathOnly = 0o10000000;

const { EAGAIN = 11 } = koffi.os.errno;
/** Times that a path is looked up again because something above it was renamed meanwhile. */
const maxRetries = 64;

/**
 * Opens a path as a process sees it whose root is that folder (openat2(2)): absolute symlinks start there, `..`
 * never leaves it, and links of /proc that lead elsewhere are refused, whoever renames what meanwhile.
 * @param root a descriptor of the folder
 * @param flags of open(2); O_CLOEXEC is added
 * @throws an Error with the errno's name as `code`
 */
export function openInRoot(root: number, path: Path, flags: number, mode = 0): number {
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(flags | closeOnExec), 0);
  how.writeBigUInt64LE(BigInt((flags & constants.O_CREAT) === 0 ? 0 : mode), 8);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  for (let attempt = 0; ; attempt++) {
    const fd = Number(cOpenat2(openat2, root, cPath(path), how, how.length));
    if (fd >= 0) return fd;
    const errno = koffi.errno();
    if (errno !== EAGAIN || attempt >= maxRetries) throw systemError('openat2', errno, path);
  }
}
