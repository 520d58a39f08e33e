import { type FileHandle, open, readdir } from 'node:fs/promises';
import path from 'node:path';

const blockBytes = 64 * 1024;

/**
 * Cuts off the zero bytes at the end of a Redis' append-only files: a power cut leaves them where the file system had
 * kept the length of a file, and not yet its last bytes. Redis does not start with them; a command that breaks off
 * there it drops by itself (`aof-load-truncated`). No command ends in a zero byte.
 * @param folder Redis' own; from version 7 on the files are in one below
 */
export async function dropZeroTails(folder: string): Promise<void> {
  for (const name of await readdir(folder, { recursive: true })) {
    if (!name.endsWith('.aof')) continue;
    await using file = await open(path.join(folder, name), 'r+');
    const { size } = await file.stat();
    const end = await endOf(file, size);
    if (end < size) await file.truncate(end);
  }
}

/** The length of a file without the zero bytes at its end. */
async function endOf(file: FileHandle, size: number): Promise<number> {
  const block = Buffer.alloc(blockBytes);
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - blockBytes);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    const last = block.subarray(0, bytesRead).findLastIndex((byte) => byte !== 0);
    if (last !== -1) return start + last + 1;
    end = start;
  }
  return 0;
}
