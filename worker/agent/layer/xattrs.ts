import { statfsSync } from 'node:fs';
import { errnoOf } from '../../../shared/errors.ts';
import { setXattr } from '../linux/xattr.ts';
import { invalid, shown } from './limits.ts';
import type { EntryType } from './tar-entry.ts';

/** Free blocks with which a file system is not full. */
const someBlocks = 64;

/**
 * Gives an entry its extended attributes. Left out are, as containerd does: those that the file system has
 * no place for by their kind, and those in `user.` of what can have none (xattr(7)).
 * @throws LAYER_INVALID for one that is larger than the file system takes, or a system error
 */
export function setXattrs(
  path: Buffer,
  xattrs: ReadonlyMap<string, Buffer>,
  type: EntryType,
): void {
  for (const [name, value] of xattrs) {
    if (type !== 'file' && type !== 'folder' && name.startsWith('user.')) continue;
    try {
      setXattr(path, Buffer.from(name, 'latin1'), value);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'EOPNOTSUPP' || errno === 'ENOTSUP') continue;
      // Ext4 says so too of what does not fit into the one block that it has for attributes.
      if (errno === 'ENOSPC' && statfsSync(folderOf(path)).bavail > someBlocks) {
        throw invalid(
          `The extended attribute ${shown(name)} (${value.length} bytes) does not fit into the file system`,
          error,
        );
      }
      throw error;
    }
  }
}

function folderOf(path: Buffer): Buffer {
  return path.subarray(0, path.lastIndexOf('/'));
}
