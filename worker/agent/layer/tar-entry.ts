import type { FileTime } from '../linux/files.ts';

export type EntryType = 'file' | 'folder' | 'symlink' | 'link' | 'char' | 'block' | 'fifo';

/** A stretch of a sparse file that has data. */
export interface DataRange {
  offset: number;
  length: number;
}

/** What a header of an archive, with its extended headers, says. Names are byte strings (latin1). */
export interface TarEntry {
  type: EntryType;
  /** As in the archive: not cleaned. */
  path: string;
  /** Of a symlink or hard link. */
  target: string;
  /** The permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Length of the file that it makes; 0 for all that are no files. */
  size: number;
  mtime: FileTime;
  deviceMajor: number;
  deviceMinor: number;
  /** Names are byte strings. */
  xattrs: ReadonlyMap<string, Buffer> | undefined;
  /** Of a sparse file: where its body belongs. */
  sparse: readonly DataRange[] | undefined;
}
