import koffi from 'koffi';
import { checked, cPath, libc, type Path, systemError } from './libc.ts';

const cLsetxattr = libc.func(
  'int lsetxattr(const void *path, const void *name, const void *value, unsigned long size, int flags)',
);
const cLgetxattr = libc.func(
  'long lgetxattr(const void *path, const void *name, void *value, unsigned long size)',
);
const cLlistxattr = libc.func('long llistxattr(const void *path, void *list, unsigned long size)');

const { ENODATA = 61, EOPNOTSUPP = 95 } = koffi.os.errno;
/** XATTR_SIZE_MAX and XATTR_LIST_MAX of Linux. */
const maxSize = 65536;

/** Marks a folder that hides all of the lower ones (the kernel's overlayfs documentation). */
export const opaqueXattr = 'trusted.overlay.opaque';

/** Sets an extended attribute; a symlink at the end of `path` is not followed. */
export function setXattr(path: Path, name: Path, value: Uint8Array): void {
  checked(cLsetxattr(cPath(path), cPath(name), value, value.length, 0), 'lsetxattr', path);
}

/** The value, or undefined where there is none or the file system has no attributes. */
export function getXattr(path: Path, name: Path): Buffer | undefined {
  const value = Buffer.alloc(maxSize);
  const size = Number(cLgetxattr(cPath(path), cPath(name), value, value.length));
  if (size >= 0) return Buffer.from(value.subarray(0, size));
  const errno = koffi.errno();
  if (errno === ENODATA || errno === EOPNOTSUPP) return undefined;
  throw systemError('lgetxattr', errno, path);
}

/** The names of the extended attributes, as their bytes. */
export function listXattrs(path: Path): Buffer[] {
  const list = Buffer.alloc(maxSize);
  const size = Number(cLlistxattr(cPath(path), list, list.length));
  if (size < 0) {
    const errno = koffi.errno();
    if (errno === EOPNOTSUPP) return [];
    throw systemError('llistxattr', errno, path);
  }
  const names: Buffer[] = [];
  for (let at = 0; at < size; ) {
    const end = list.indexOf(0, at);
    names.push(Buffer.from(list.subarray(at, end)));
    at = end + 1;
  }
  return names;
}
