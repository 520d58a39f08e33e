/**
 * Files by folder descriptor and name: a name without a slash that is looked up in an open folder can't lead
 * out of it. Names and symlink targets are byte strings: one character a byte (Buffer's latin1), so that no
 * name is lost that is not UTF-8. All calls are synchronous.
 */
import koffi from 'koffi';
import { libc, systemError } from './libc.ts';

const cOpenat = libc.func('int openat(int dir, const void *name, int flags, uint32_t mode)');
const cMkdirat = libc.func('int mkdirat(int dir, const void *name, uint32_t mode)');
const cMknodat = libc.func('int mknodat(int dir, const void *name, uint32_t mode, uint64_t dev)');
const cSymlinkat = libc.func('int symlinkat(const void *target, int dir, const void *name)');
const cLinkat = libc.func(
  'int linkat(int oldDir, const void *oldName, int dir, const void *name, int flags)',
);
const cUnlinkat = libc.func('int unlinkat(int dir, const void *name, int flags)');
const cReadlinkat = libc.func(
  'long readlinkat(int dir, const void *name, void *target, unsigned long size)',
);
const cFchownat = libc.func(
  'int fchownat(int dir, const void *name, uint32_t uid, uint32_t gid, int flags)',
);
const cFchmodat = libc.func('int fchmodat(int dir, const void *name, uint32_t mode, int flags)');
const cFchown = libc.func('int fchown(int fd, uint32_t uid, uint32_t gid)');
const cFchmod = libc.func('int fchmod(int fd, uint32_t mode)');
const cUtimensat = libc.func(
  'int utimensat(int dir, const void *name, const void *times, int flags)',
);
const cFutimens = libc.func('int futimens(int fd, const void *times)');
const cWrite = libc.func('long write(int fd, const void *data, unsigned long size)');
const cPwrite = libc.func('long pwrite(int fd, const void *data, unsigned long size, long offset)');
const cFtruncate = libc.func('int ftruncate(int fd, long size)');
const cClose = libc.func('int close(int fd)');

export const FileType = { fifo: 0o010000, char: 0o020000, block: 0o060000 } as const;

const flag = {
  writeOnly: 0o1,
  create: 0o100,
  exclusive: 0o200,
  directory: 0o200000,
  noFollow: 0o400000,
  closeOnExec: 0o2000000,
} as const;
const createFlags =
  flag.writeOnly | flag.create | flag.exclusive | flag.noFollow | flag.closeOnExec;
const folderFlags = flag.directory | flag.noFollow | flag.closeOnExec;
const noFollow = 0x100;
const removeFolder = 0x200;

const { EEXIST = 17, ENOENT = 2, EINVAL = 22, EINTR = 4 } = koffi.os.errno;

/** The longest name or path that is handed to the kernel, with its final NUL. */
const scratchSize = 8192;
const scratch = [Buffer.alloc(scratchSize), Buffer.alloc(scratchSize)] as const;
const linkTarget = Buffer.alloc(4096);
const times = Buffer.alloc(32);

function cName(name: string, which: 0 | 1 = 0): Buffer {
  if (name.length >= scratchSize) throw systemError('open', 36, name.slice(0, 100));
  const buffer = scratch[which];
  buffer[buffer.write(name, 'latin1')] = 0;
  return buffer;
}

function check(result: number, syscall: string, name: string): number {
  if (result >= 0) return result;
  throw systemError(syscall, koffi.errno(), Buffer.from(name, 'latin1'));
}

/** Whether it was made; false when something of that name is there. */
function made(result: number, syscall: string, name: string): boolean {
  if (result >= 0) return true;
  const errno = koffi.errno();
  if (errno === EEXIST) return false;
  throw systemError(syscall, errno, Buffer.from(name, 'latin1'));
}

/** Opens a folder below another; a symlink is not followed. */
export function openFolderAt(dir: number, name: string): number {
  return check(cOpenat(dir, cName(name), folderFlags, 0), 'openat', name);
}

/** Opens a folder by its path. */
export function openFolder(path: string): number {
  const name = Buffer.from(path).toString('latin1');
  return check(cOpenat(-100, cName(name), folderFlags & ~flag.noFollow, 0), 'openat', name);
}

/** A new file, open for writing, or -1 when something of that name is there. */
export function createFileAt(dir: number, name: string, mode: number): number {
  const fd = cOpenat(dir, cName(name), createFlags, mode);
  return made(fd, 'openat', name) ? fd : -1;
}

/** Writes all of `data` where the file stands. */
export function writeAll(fd: number, data: Uint8Array, path: string): void {
  for (let rest = data; rest.length > 0; ) {
    const written = Number(cWrite(fd, rest, rest.length));
    if (written < 0) {
      const errno = koffi.errno();
      if (errno === EINTR) continue;
      throw systemError('write', errno, Buffer.from(path, 'latin1'));
    }
    if (written === rest.length) return;
    rest = rest.subarray(written);
  }
}

/** Writes all of `data` at an offset. */
export function writeAllAt(fd: number, data: Uint8Array, offset: number, path: string): void {
  for (let done = 0; done < data.length; ) {
    const rest = data.subarray(done);
    const written = Number(cPwrite(fd, rest, rest.length, offset + done));
    if (written >= 0) done += written;
    else if (koffi.errno() !== EINTR) check(-1, 'pwrite', path);
  }
}

export function truncate(fd: number, size: number, path: string): void {
  check(cFtruncate(fd, size), 'ftruncate', path);
}

export function changeOwner(fd: number, uid: number, gid: number, path: string): void {
  check(cFchown(fd, uid, gid), 'fchown', path);
}

export function changeMode(fd: number, mode: number, path: string): void {
  check(cFchmod(fd, mode), 'fchmod', path);
}

export function setTimes(fd: number, time: FileTime, path: string): void {
  check(cFutimens(fd, timesOf(time)), 'futimens', path);
}

/** Never throws: errors of the disk show at write or at sync. */
export function closeFile(fd: number): void {
  cClose(fd);
}

/** Whether it was made; false when something of that name is there. */
export function makeFolderAt(dir: number, name: string, mode: number): boolean {
  return made(cMkdirat(dir, cName(name), mode), 'mkdirat', name);
}

/** A device or FIFO. @returns whether it was made; false when something of that name is there */
export function makeNodeAt(
  dir: number,
  name: string,
  mode: number,
  major: number,
  minor: number,
): boolean {
  return made(cMknodat(dir, cName(name), mode, deviceNumber(major, minor)), 'mknodat', name);
}

/** Whether it was made; false when something of that name is there. */
export function makeSymlinkAt(dir: number, name: string, target: string): boolean {
  return made(cSymlinkat(cName(target, 1), dir, cName(name)), 'symlinkat', name);
}

/** Links what is there under the old name, a symlink itself too. @returns false when the new name is taken */
export function linkAt(oldDir: number, oldName: string, dir: number, name: string): boolean {
  return made(cLinkat(oldDir, cName(oldName, 1), dir, cName(name), 0), 'linkat', name);
}

export function unlinkAt(dir: number, name: string): void {
  check(cUnlinkat(dir, cName(name), 0), 'unlinkat', name);
}

export function removeFolderAt(dir: number, name: string): void {
  check(cUnlinkat(dir, cName(name), removeFolder), 'unlinkat', name);
}

/** The target of a symlink; null for what is no symlink, undefined for what is not there. */
export function readLinkAt(dir: number, name: string): string | null | undefined {
  const length = Number(cReadlinkat(dir, cName(name), linkTarget, linkTarget.length));
  if (length >= 0) return linkTarget.toString('latin1', 0, length);
  const errno = koffi.errno();
  if (errno === ENOENT) return undefined;
  if (errno === EINVAL) return null;
  throw systemError('readlinkat', errno, Buffer.from(name, 'latin1'));
}

/** A symlink is not followed. */
export function changeOwnerAt(dir: number, name: string, uid: number, gid: number): void {
  check(cFchownat(dir, cName(name), uid, gid, noFollow), 'fchownat', name);
}

/** Only for what is known to be no symlink: the kernel would follow it. */
export function changeModeAt(dir: number, name: string, mode: number): void {
  check(cFchmodat(dir, cName(name), mode, 0), 'fchmodat', name);
}

/** A symlink is not followed. */
export function setTimesAt(dir: number, name: string, time: FileTime): void {
  check(cUtimensat(dir, cName(name), timesOf(time), noFollow), 'utimensat', name);
}

/** Seconds since 1970 and nanoseconds, both not negative. */
export interface FileTime {
  seconds: number;
  nanoseconds: number;
}

/** Access and modification time alike, as two `struct timespec`. */
function timesOf({ seconds, nanoseconds }: FileTime): Buffer {
  for (const at of [0, 16]) {
    times.writeUInt32LE(seconds % 2 ** 32, at);
    times.writeUInt32LE(Math.floor(seconds / 2 ** 32), at + 4);
    times.writeUInt32LE(nanoseconds, at + 8);
  }
  return times;
}

/** glibc's makedev(3). */
function deviceNumber(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return (
    ((high & 0xfffff000n) << 32n) |
    ((high & 0xfffn) << 8n) |
    ((low & 0xffffff00n) << 12n) |
    (low & 0xffn)
  );
}
