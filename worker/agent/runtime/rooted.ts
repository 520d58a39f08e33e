import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { DrayError, errnoOf } from '../../../shared/errors.ts';

/** As many as the kernel follows. */
const maxLinks = 40;

/**
 * The path that `path` is inside a root folder when symlinks are followed as a process does that has this
 * root: absolute ones start at it, and `..` never leaves it. Parts that do not exist stay as they are.
 * The tree must stand still meanwhile: no container runs on it.
 * @returns a path inside the container, absolute
 * @throws CONFIG_INVALID when symlinks lead in a circle
 */
export async function resolveInRoot(root: string, path: string): Promise<string> {
  const ahead = path.split('/').reverse();
  const behind: string[] = [];
  let links = 0;
  for (let part = ahead.pop(); part !== undefined; part = ahead.pop()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      behind.pop();
      continue;
    }
    const target = await linkTarget(join(root, ...behind, part));
    if (target === undefined) {
      behind.push(part);
      continue;
    }
    if (++links > maxLinks) {
      throw new DrayError('CONFIG_INVALID', `${path} in the image is a circle of symlinks`);
    }
    if (target.startsWith('/')) behind.length = 0;
    ahead.push(...target.split('/').reverse());
  }
  return `/${behind.join('/')}`;
}

/**
 * Reads a regular file of an image. Nothing but a regular file inside the root is opened for reading: a
 * FIFO would hang, a device may act.
 * @param maxBytes more than that is refused
 * @returns undefined when there is no such file
 * @throws CONFIG_INVALID
 */
export async function readInRoot(
  root: string,
  path: string,
  { maxBytes, signal }: { maxBytes: number; signal?: AbortSignal },
): Promise<string | undefined> {
  const inside = await resolveInRoot(root, path);
  signal?.throwIfAborted();
  const real = join(root, inside);
  try {
    const found = await lstat(real);
    if (!found.isFile()) {
      throw new DrayError('CONFIG_INVALID', `${path} in the image is not a regular file`, {
        hint: 'The image is broken, or hostile: its users can not be looked up.',
      });
    }
    await using file = await openFile(real);
    return await readCapped(file, path, maxBytes);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    throw error;
  }
}

async function openFile(real: string): Promise<FileHandle> {
  return await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
}

async function readCapped(file: FileHandle, path: string, maxBytes: number): Promise<string> {
  const buffer = Buffer.alloc(maxBytes + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length);
    if (bytesRead === 0) break;
    length += bytesRead;
    if (length > maxBytes) {
      throw new DrayError('CONFIG_INVALID', `${path} in the image has more than ${maxBytes} bytes`);
    }
  }
  return buffer.toString('utf8', 0, length);
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'EINVAL' || errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    throw error;
  }
}
