import { readFileSync } from 'node:fs';
import { DrayError, errnoOf, messageOf } from '../../../shared/errors.ts';
import { startWriteback } from '../../../shared/linux/write-back.ts';
import {
  changeMode,
  changeModeAt,
  changeOwner,
  changeOwnerAt,
  closeFile,
  FileType,
  setTimes,
  setTimesAt,
  truncate,
  writeAll,
  writeAllAt,
} from '../linux/files.ts';
import type { Deferred } from './deferred.ts';
import type { Folder } from './folder.ts';
import { invalid, type LayerLimits, limitError, shown } from './limits.ts';
import { cleanPath } from './paths.ts';
import { StagingTree } from './staging-tree.ts';
import type { TarEntry } from './tar-entry.ts';
import type { TarReader } from './tar-reader.ts';
import { setXattrs } from './xattrs.ts';

export interface WrittenLayer {
  entries: number;
  diskBytes: number;
  deferred: Deferred;
}

const whiteoutPrefix = '.wh.';
const opaqueMarker = '.wh..wh..opq';
/** Bytes of a large file after which the disk begins with them, so that a commit has less to wait for. */
const writebackSize = 2 ** 20;
/** What a file's last, partly filled block, and a folder, take on disk. */
const diskBlock = 4096;

/**
 * Makes everything that an archive says in an empty folder, in the form that overlayfs takes.
 * @throws LAYER_INVALID, LAYER_LIMIT, NO_SPACE; then the folder holds a part
 */
export function writeLayer(
  reader: TarReader,
  target: string,
  limits: Pick<LayerLimits, 'maxEntries' | 'maxDepth' | 'maxPathBytes'>,
  options: { isCancelled: () => boolean; lowerDirs?: readonly string[] },
): WrittenLayer {
  using tree = new StagingTree(target, limits, options.lowerDirs);
  const writer = new EntryWriter(reader, tree);
  for (let entry = reader.next(); entry !== undefined; entry = reader.next()) {
    if (options.isCancelled()) break;
    // Folders that have no entry cost as much as those that have one.
    if (++writer.entries + tree.impliedFolders > limits.maxEntries) {
      throw limitError(`The layer has more than ${limits.maxEntries} entries`);
    }
    writer.write(entry);
  }
  const deferred = attempt('', () => tree.finish());
  return {
    entries: writer.entries,
    diskBytes: writer.diskBytes + tree.folderCount * diskBlock,
    deferred,
  };
}

class EntryWriter {
  entries = 0;
  diskBytes = 0;
  readonly #reader: TarReader;
  readonly #tree: StagingTree;
  readonly #umask = readUmask();

  constructor(reader: TarReader, tree: StagingTree) {
    this.#reader = reader;
    this.#tree = tree;
  }

  write(entry: TarEntry): void {
    const path = cleanPath(entry.path);
    if (path.includes('\0')) throw invalid(`${shown(path)} has a NUL in its name`);
    if (path === '') {
      // The root is the snapshot's own folder.
      if (entry.type === 'folder') return;
      throw invalid(`An entry of the layer has the name ${shown(entry.path)}`);
    }
    const slash = path.lastIndexOf('/');
    this.#tree.trim();
    attempt(path, () => {
      const folder = this.#tree.folder(slash < 0 ? '' : path.slice(0, slash));
      const name = path.slice(slash + 1);
      if (name.startsWith(whiteoutPrefix)) this.#whiteOut(folder, name, path);
      else this.#make(entry, folder, name, path);
    });
  }

  #whiteOut(folder: Folder, name: string, path: string): void {
    if (name === opaqueMarker) {
      this.#tree.makeOpaque(folder);
      return;
    }
    const hidden = name.slice(whiteoutPrefix.length);
    if (hidden === '' || hidden === '.' || hidden === '..') {
      throw invalid(`${shown(path)} is a whiteout of no name`);
    }
    this.#tree.whiteOut(folder, hidden);
  }

  #make(entry: TarEntry, folder: Folder, name: string, path: string): void {
    const tree = this.#tree;
    const { uid, gid, mode, mtime, xattrs } = entry;
    switch (entry.type) {
      case 'file':
        this.#file(entry, folder, name, path);
        return;
      case 'folder':
        tree.makeFolder(folder, name, { mode, uid, gid, mtime, xattrs });
        return;
      case 'link':
        // A hard link is another name: what its header says of owner and mode was said by the first.
        tree.link(folder, name, cleanPath(entry.target));
        return;
      case 'symlink':
        if (entry.target === '' || entry.target.includes('\0') || entry.target.length > 4095) {
          throw invalid(`${shown(path)} is a symlink to nothing that can be a path`);
        }
        tree.makeSymlink(folder, name, entry.target);
        this.#attributes(entry, folder, name);
        return;
      case 'fifo':
        tree.makeNode(folder, name, FileType.fifo | (mode & 0o777), 0, 0);
        this.#attributes(entry, folder, name);
        return;
      case 'char':
      case 'block':
        this.#device(entry, folder, name, path);
        return;
    }
  }

  #file(entry: TarEntry, folder: Folder, name: string, path: string): void {
    const { uid, gid, mode, mtime, xattrs, size, sparse } = entry;
    const fd = this.#tree.createFile(folder, name, mode & 0o777);
    try {
      if (sparse === undefined) {
        this.#whole(fd, size, path);
      } else {
        this.#sparse(fd, sparse, size, path);
      }
      const stored = sparse?.reduce((sum, { length }) => sum + length, 0) ?? size;
      this.diskBytes += Math.ceil(stored / diskBlock) * diskBlock;
      // A change of owner takes setuid and capabilities away, and so does writing: they come after.
      if (uid !== 0 || gid !== 0) changeOwner(fd, uid, gid, path);
      if (xattrs !== undefined) setXattrs(this.#tree.procPath(folder, name), xattrs, 'file');
      if ((mode & (0o7000 | this.#umask)) !== 0) changeMode(fd, mode, path);
      setTimes(fd, mtime, path);
    } finally {
      closeFile(fd);
    }
  }

  #whole(fd: number, size: number, path: string): void {
    let written = 0;
    let started = 0;
    for (let part = this.#reader.read(); part !== undefined; part = this.#reader.read()) {
      writeAll(fd, part, path);
      written += part.length;
      if (size < writebackSize) continue;
      if (written - started >= writebackSize || written === size) {
        startWriteback(fd, started, written - started);
        started = written;
      }
    }
  }

  /** Only the data is written; the rest are holes. */
  #sparse(
    fd: number,
    map: readonly { offset: number; length: number }[],
    size: number,
    path: string,
  ): void {
    let part: Buffer = Buffer.alloc(0);
    for (const { offset, length } of map) {
      for (let done = 0; done < length; ) {
        if (part.length === 0) part = this.#reader.read() ?? part;
        if (part.length === 0) throw invalid(`${shown(path)} has less data than its map says`);
        const data = part.subarray(0, length - done);
        writeAllAt(fd, data, offset + done, path);
        done += data.length;
        part = part.subarray(data.length);
      }
    }
    truncate(fd, size, path);
  }

  #device(entry: TarEntry, folder: Folder, name: string, path: string): void {
    const { type, mode, deviceMajor, deviceMinor } = entry;
    // Linux: 12 bits and 20 bits.
    const exists = deviceMajor >= 0 && deviceMajor < 2 ** 12;
    if (!exists || deviceMinor < 0 || deviceMinor >= 2 ** 20) {
      throw invalid(`${shown(path)} is the device ${deviceMajor}:${deviceMinor}, which can't be`);
    }
    if (type === 'char' && deviceMajor === 0 && deviceMinor === 0) {
      // Overlayfs would take it for a deletion that other readers of the layer don't see.
      throw invalid(`${shown(path)} is the device 0:0, a forged whiteout`);
    }
    const kind = type === 'char' ? FileType.char : FileType.block;
    this.#tree.makeNode(folder, name, kind | (mode & 0o777), deviceMajor, deviceMinor);
    this.#attributes(entry, folder, name);
  }

  /** Of what can't be opened. */
  #attributes(entry: TarEntry, folder: Folder, name: string): void {
    const { uid, gid, mode, mtime, xattrs, type } = entry;
    const dir = this.#tree.fdOf(folder);
    if (uid !== 0 || gid !== 0) changeOwnerAt(dir, name, uid, gid);
    if (xattrs !== undefined) setXattrs(this.#tree.procPath(folder, name), xattrs, type);
    if (type !== 'symlink' && (mode & (0o7000 | this.#umask)) !== 0) changeModeAt(dir, name, mode);
    setTimesAt(dir, name, mtime);
  }
}

/** Runs a step and says of a system error which entry it was. */
function attempt<T>(path: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (error instanceof DrayError) throw error;
    const where = path === '' ? 'The layer' : shown(path);
    switch (errnoOf(error)) {
      case 'ENOSPC':
      case 'EDQUOT':
        throw new DrayError('NO_SPACE', `${where}: the disk is full`, {
          retryable: true,
          hint: 'Free space on the disk of the agent, then pull again.',
          cause: error,
        });
      case 'ENAMETOOLONG':
      case 'EINVAL':
      case 'EMLINK':
      case 'E2BIG':
      case 'ERANGE':
      case 'ENOENT':
      case 'EPERM':
        throw invalid(`${where} can't be made: ${messageOf(error)}`, error);
      case 'EFBIG':
        throw limitError(`${where} is too large for the file system`);
      default:
        throw error instanceof Error && errnoOf(error) !== undefined
          ? new DrayError('INTERNAL', `${where}: ${messageOf(error)}`, { cause: error })
          : error;
    }
  }
}

/** The mode bits that the kernel takes from new files. Setting it is the whole process's affair, reading is not. */
function readUmask(): number {
  const status = readFileSync('/proc/self/status', 'latin1');
  return Number.parseInt(/^Umask:\s*([0-7]+)$/m.exec(status)?.[1] ?? '777', 8);
}
