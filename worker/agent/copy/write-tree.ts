import { closeSync, constants } from 'node:fs';
import { DrayError, errnoOf } from '../../../shared/errors.ts';
import { defaultLimits } from '../layer/limits.ts';
import type { TarEntry } from '../layer/tar-entry.ts';
import { type PullBytes, TarReader } from '../layer/tar-reader.ts';
import {
  changeMode,
  changeOwner,
  changeOwnerAt,
  closeFile,
  createFileAt,
  FileType,
  linkAt,
  makeFolderAt,
  makeNodeAt,
  makeSymlinkAt,
  openFolderAt,
  removeFolderAt,
  setTimes,
  setTimesAt,
  unlinkAt,
  writeAll,
} from '../linux/files.ts';
import { openInRoot } from '../linux/open-in-root.ts';

export interface TreeRequest {
  /** A descriptor of the root folder, which nothing leaves. */
  root: number;
  /** A folder that is there, as a process with that root sees it. */
  folder: string;
  /** Takes the place of the first part of each path in the archive; `.`: that part is left out. */
  name?: string;
  /** Of all that is made; undefined: as the archive says. */
  owner: { uid: number; gid: number } | undefined;
}

/**
 * Writes what is in a tar archive below a folder of a root file system on which processes run that may be hostile:
 * every path is looked up inside the root, and what stands at the end of a path is never followed. Synchronous.
 * @throws USAGE for an archive that can't be written; CONFLICT where a folder is in the way
 */
export function writeTree(pull: PullBytes, request: TreeRequest): void {
  const reader = new TarReader(pull, defaultLimits);
  using tree = new Tree(request);
  for (let entry = reader.next(); entry !== undefined; entry = reader.next()) {
    tree.write(entry, reader);
  }
}

class Tree implements Disposable {
  readonly #request: TreeRequest;
  /** The folder that was written to last. */
  #parent = { path: '', fd: -1 };

  constructor(request: TreeRequest) {
    this.#request = request;
  }

  write(entry: TarEntry, body: TarReader): void {
    const path = this.#place(entry.path);
    const name = path.at(-1);
    // The folder itself, which is there.
    if (name === undefined) return;
    const parent = this.#folder(path.slice(0, -1));
    const { uid, gid } = this.#request.owner ?? entry;
    if (entry.type === 'folder') {
      if (!makeFolderAt(parent, name, 0o700)) {
        this.#requireFolder(parent, name);
        return;
      }
      const fd = openFolderAt(parent, name);
      try {
        this.#attributes(fd, entry, uid, gid);
      } finally {
        closeFile(fd);
      }
      return;
    }
    clearAway(parent, name);
    if (entry.type === 'file') {
      const fd = createFileAt(parent, name, 0o600);
      if (fd === -1) throw inTheWay(name);
      try {
        for (let piece = body.read(); piece !== undefined; piece = body.read()) {
          writeAll(fd, piece, name);
        }
        this.#attributes(fd, entry, uid, gid);
      } finally {
        closeFile(fd);
      }
    } else if (entry.type === 'link') {
      const target = this.#place(entry.target);
      const from = this.#open(target.slice(0, -1));
      try {
        if (!linkAt(from, target.at(-1) ?? '', parent, name)) throw inTheWay(name);
      } finally {
        closeSync(from);
      }
    } else {
      const isMade =
        entry.type === 'symlink'
          ? makeSymlinkAt(parent, name, entry.target)
          : entry.type === 'fifo' && makeNodeAt(parent, name, FileType.fifo | entry.mode, 0, 0);
      if (!isMade) throw refused(entry.path, 'is a device, which is not copied');
      changeOwnerAt(parent, name, uid, gid);
      setTimesAt(parent, name, entry.mtime);
    }
  }

  /** The parts of a path in the archive, below the folder. */
  #place(path: string): string[] {
    const parts = path.split('/').filter((part) => part !== '' && part !== '.');
    if (parts.includes('..')) throw refused(path, 'leads upwards');
    const { name } = this.#request;
    if (name === undefined) return parts;
    return name === '.' ? parts.slice(1) : [latin1(name), ...parts.slice(1)];
  }

  /** Opens a folder below, and makes those that are missing. */
  #folder(parts: readonly string[]): number {
    const path = parts.join('/');
    if (this.#parent.fd !== -1 && this.#parent.path === path) return this.#parent.fd;
    this.#close();
    this.#parent = { path, fd: this.#openOrMake(parts) };
    return this.#parent.fd;
  }

  #openOrMake(parts: readonly string[]): number {
    try {
      return this.#open(parts);
    } catch (error) {
      const name = parts.at(-1);
      if (errnoOf(error) !== 'ENOENT' || name === undefined) throw error;
      const above = this.#openOrMake(parts.slice(0, -1));
      try {
        if (makeFolderAt(above, name, 0o755)) {
          const { uid, gid } = this.#request.owner ?? { uid: 0, gid: 0 };
          changeOwnerAt(above, name, uid, gid);
        }
      } finally {
        closeSync(above);
      }
      return this.#open(parts);
    }
  }

  /** By symlinks too, as long as they stay inside the root. */
  #open(parts: readonly string[]): number {
    const { root, folder } = this.#request;
    const path = Buffer.from([latin1(folder), ...parts].join('/'), 'latin1');
    return openInRoot(root, path, constants.O_RDONLY | constants.O_DIRECTORY);
  }

  #requireFolder(parent: number, name: string): void {
    closeSync(
      openInRoot(parent, Buffer.from(name, 'latin1'), constants.O_RDONLY | constants.O_DIRECTORY),
    );
  }

  #attributes(fd: number, { mode, mtime, path }: TarEntry, uid: number, gid: number): void {
    changeOwner(fd, uid, gid, path);
    changeMode(fd, mode, path);
    setTimes(fd, mtime, path);
  }

  #close(): void {
    if (this.#parent.fd !== -1) closeSync(this.#parent.fd);
    this.#parent.fd = -1;
  }

  [Symbol.dispose](): void {
    this.#close();
  }
}

/** Removes what has the name, unless it is a folder with something in it. */
function clearAway(parent: number, name: string): void {
  try {
    unlinkAt(parent, name);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT') return;
    if (errno !== 'EISDIR') throw error;
    try {
      removeFolderAt(parent, name);
    } catch {
      throw inTheWay(name);
    }
  }
}

function inTheWay(name: string): DrayError {
  return new DrayError('CONFLICT', `${shown(name)} in the container is a folder that is not empty`);
}

function refused(path: string, why: string): DrayError {
  return new DrayError('USAGE', `${shown(path)} in the archive ${why}`);
}

function shown(name: string): string {
  return JSON.stringify(Buffer.from(name, 'latin1').toString().slice(0, 200));
}

function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}
