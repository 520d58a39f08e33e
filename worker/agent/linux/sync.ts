import { close, open } from 'node:fs';
import { promisify } from 'node:util';
import { calledAside, libc, type Path } from './libc.ts';

const cSyncfs = libc.func('int syncfs(int fd)');
const openFile = promisify(open);
const closeFile = promisify(close);

/**
 * Flushes everything of the file system that holds `path`, data and metadata, to its disk (syncfs(2)).
 * Once begun it can't be cut short.
 */
export async function syncfs(path: Path, options: { signal?: AbortSignal } = {}): Promise<void> {
  options.signal?.throwIfAborted();
  const fd = await openFile(path, 'r');
  try {
    await calledAside(cSyncfs, [fd], 'syncfs', path);
  } finally {
    await closeFile(fd);
  }
}
