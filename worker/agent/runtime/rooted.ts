import { closeSync, constants, fstatSync } from 'node:fs';
import { type FileHandle, open, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { DrayError, errnoOf } from '../../../shared/errors.ts';
import { openInRoot, pathOnly } from '../linux/open-in-root.ts';

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
 * Reads a regular file of an image, also of one on which something runs: no link, whenever it was made, leads out
 * of the root. Nothing but a regular file is opened for reading: a FIFO would hang, a device may act.
 * @param maxBytes more than that is refused
 * @returns undefined when there is no such file
 * @throws CONFIG_INVALID
 */
export async function readInRoot(
  root: string,
  path: string,
  { maxBytes, signal }: { maxBytes: number; signal?: AbortSignal },
): Promise<string | undefined> {
  await using folder = await open(root, constants.O_RDONLY | constants.O_DIRECTORY);
  signal?.throwIfAborted();
  let named: number;
  try {
    named = openInRoot(folder.fd, path, pathOnly);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    if (errno !== 'ELOOP') throw error;
    throw new DrayError('CONFIG_INVALID', `${path} in the image is a circle of symlinks`);
  }
  try {
    const stat = fstatSync(named);
    if (!stat.isFile()) {
      throw new DrayError('CONFIG_INVALID', `${path} in the image is not a regular file`, {
        hint: 'The image is broken, or hostile: its users can not be looked up.',
      });
    }
    if (stat.size > maxBytes) {
      throw new DrayError('CONFIG_INVALID', `${path} in the image has more than ${maxBytes} bytes`);
    }
    await using file = await open(`/proc/self/fd/${named}`, constants.O_RDONLY);
    return await readWhole(file, stat.size);
  } finally {
    closeSync(named);
  }
}

/** Each start reads two files: with buffers of megabytes for them each start had the whole heap collected. */
async function readWhole(file: FileHandle, size: number): Promise<string> {
  const buffer = Buffer.allocUnsafe(size);
  let length = 0;
  while (length < size) {
    const { bytesRead } = await file.read(buffer, length, size - length);
    if (bytesRead === 0) break;
    length += bytesRead;
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
