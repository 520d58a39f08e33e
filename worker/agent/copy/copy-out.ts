import { isUtf8 } from 'node:buffer';
import { once } from 'node:events';
import { closeSync, constants, fstatSync, type Stats } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { type Header, type Pack, pack } from 'tar-stream';
import type { FoundFile } from '../../../shared/agent/containers.ts';
import { DrayError, errnoOf } from '../../../shared/errors.ts';
import { readLinkAt } from '../linux/files.ts';
import { openInRoot, pathOnly } from '../linux/open-in-root.ts';

const readBytes = 256 * 1024;
const maxDepth = 1024;

/**
 * Looks a path up as a process of the container would.
 * @param options.follow a symlink at its end, too
 * @throws NOT_FOUND
 */
export function lookUp(root: number, path: string, options: { follow: boolean }): FoundFile {
  const fd = openPath(root, path, options.follow);
  try {
    const stats = fstatSync(fd);
    const { size, mode } = stats;
    return { type: typeOf(stats), size, mode: mode & 0o7777 };
  } finally {
    closeSync(fd);
  }
}

function typeOf(stats: Stats): FoundFile['type'] {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'folder';
  return stats.isSymbolicLink() ? 'symlink' : 'other';
}

/** A descriptor that names a file and opens it for nothing. */
function openPath(root: number, path: string, follow: boolean): number {
  try {
    return openInRoot(root, path, pathOnly | (follow ? 0 : constants.O_NOFOLLOW));
  } catch (error) {
    const errno = errnoOf(error);
    const why =
      errno === 'ENOENT' || errno === 'ENOTDIR'
        ? 'is not there'
        : errno === 'ELOOP'
          ? 'leads out of it, or in a circle'
          : undefined;
    if (why === undefined) throw error;
    throw new DrayError('NOT_FOUND', `${path.slice(0, 300)} in the container ${why}`);
  }
}

export interface CopyOutOptions {
  /** Of the first entry; the others are below it. */
  name: string;
  follow: boolean;
  /** An id in the container of one on the node. */
  idOf: (id: number) => number;
}

/**
 * What stands at a path of a root file system, on which processes may run that are hostile, as a tar archive:
 * every file is looked up in a folder that is open, and nothing but a regular file is opened for reading. Sockets
 * are left out.
 * @throws NOT_FOUND at once; USAGE, in the stream, for a name that is not UTF-8
 */
export function copyOut(root: number, path: string, options: CopyOutOptions): Readable {
  const first = openPath(root, path, options.follow);
  const archive = pack();
  void walk(archive, first, options)
    .then(() => archive.finalize())
    .catch((error: unknown) => archive.destroy(error as Error));
  return Readable.from(archive as AsyncIterable<Buffer>, { objectMode: false });
}

async function walk(archive: Pack, first: number, options: CopyOutOptions): Promise<void> {
  const add = async (fd: number, name: string, depth: number): Promise<void> => {
    try {
      if (depth > maxDepth) throw new DrayError('USAGE', `${name.slice(0, 200)}… is too deep`);
      const stats = fstatSync(fd);
      const own = { name, ...headerOf(stats, options) };
      if (stats.isFile()) return await addFile(archive, own, fd);
      if (!stats.isDirectory()) return await addSpecial(archive, own, fd, stats);
      await addEntry(archive, { ...own, type: 'directory' });
      await using folder = await open(
        `/proc/self/fd/${fd}`,
        constants.O_RDONLY | constants.O_DIRECTORY,
      );
      const place = `/proc/self/fd/${folder.fd}`;
      for (const bytes of await readdir(place, { encoding: 'buffer' })) {
        const entry = textOf(bytes, `a name in ${name}`);
        let below: number;
        try {
          below = openInRoot(folder.fd, entry, pathOnly | constants.O_NOFOLLOW);
        } catch (error) {
          // It has gone meanwhile.
          if (errnoOf(error) === 'ENOENT') continue;
          throw error;
        }
        await add(below, name === '.' ? `./${entry}` : `${name}/${entry}`, depth + 1);
      }
    } finally {
      closeSync(fd);
    }
  };
  await add(first, options.name, 0);
}

type NamedHeader = Partial<Header> & { name: string };

function headerOf(stats: Stats, { idOf }: CopyOutOptions): Partial<Header> {
  const { mode, uid, gid, mtime } = stats;
  return { mode: mode & 0o7777, uid: idOf(uid), gid: idOf(gid), mtime };
}

/** An archive that is made here has texts. */
function textOf(bytes: Buffer, what: string): string {
  if (isUtf8(bytes)) return bytes.toString();
  throw new DrayError('USAGE', `${what}, ${JSON.stringify(bytes.toString())}, is not UTF-8`, {
    hint: 'Rename it, or copy by a program in the container, such as tar.',
  });
}

async function addFile(archive: Pack, header: NamedHeader, fd: number): Promise<void> {
  await using file = await open(`/proc/self/fd/${fd}`, constants.O_RDONLY);
  const { size } = await file.stat();
  const done = Promise.withResolvers<void>();
  const entry = archive.entry({ ...header, type: 'file', size }, (error) => {
    if (error) done.reject(error);
    else done.resolve();
  });
  done.promise.catch(() => {});
  for (let at = 0; at < size; ) {
    const length = Math.min(readBytes, size - at);
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(length), 0, length, at);
    if (bytesRead === 0) {
      throw new DrayError('CONFLICT', `${header.name} became shorter while it was copied`, {
        retryable: true,
      });
    }
    at += bytesRead;
    const piece = buffer.subarray(0, bytesRead);
    if (!entry.write(piece)) await Promise.race([once(entry, 'drain'), done.promise]);
  }
  entry.end(null);
  await done.promise;
}

async function addSpecial(
  archive: Pack,
  header: NamedHeader,
  fd: number,
  stats: Stats,
): Promise<void> {
  if (stats.isSymbolicLink()) {
    // An empty name is the link that the descriptor names.
    const bytes = Buffer.from(readLinkAt(fd, '') ?? '', 'latin1');
    const linkname = textOf(bytes, `what ${header.name} leads to`);
    await addEntry(archive, { ...header, type: 'symlink', linkname });
  } else if (stats.isFIFO()) {
    await addEntry(archive, { ...header, type: 'fifo' });
  } else if (stats.isCharacterDevice() || stats.isBlockDevice()) {
    const [devmajor, devminor] = [Math.floor(stats.rdev / 256), stats.rdev % 256];
    const type = stats.isBlockDevice() ? 'block-device' : 'character-device';
    await addEntry(archive, { ...header, type, devmajor, devminor });
  }
}

async function addEntry(archive: Pack, header: NamedHeader): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    archive.entry(header, '', (error) => (error ? reject(error) : resolve()));
  });
}
