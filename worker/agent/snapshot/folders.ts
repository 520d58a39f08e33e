import { execFile } from 'node:child_process';
import { chmod, mkdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { DrayError } from '../../../shared/errors.ts';
import { runProgram } from '../linux/run-program.ts';

const run = promisify(execFile);

/** Milliseconds for one folder, which may have millions of files. */
const removalBound = 3_600_000;

/**
 * Removes a folder and all that is in it; what is not there is success. Names may be any bytes and paths
 * longer than PATH_MAX, and mounted file systems are not entered: what `rm` does and Node's own removal
 * does not, which works with whole paths.
 */
export async function removeTree(folder: string): Promise<void> {
  const { exitCode, stderr } = await runProgram('rm', ['-rf', '--one-file-system', '--', folder], {
    timeout: removalBound,
  });
  if (exitCode === 0) return;
  throw new DrayError('INTERNAL', `${folder} could not be removed`, {
    hint: stderr.trim().split('\n')[0] ?? '',
  });
}

/** Makes a folder anew: owner root, mode 0755. */
export async function emptyFolder(folder: string): Promise<void> {
  await removeTree(folder);
  await mkdir(folder);
  await chmod(folder, 0o755);
}

export interface Usage {
  /** Bytes on disk. */
  bytes: number;
  /** Files, folders and all else. */
  entries: number;
}

/** What a folder takes on its disk, itself left out of the entries. */
export async function usageOf(
  folder: string,
  options: { signal?: AbortSignal } = {},
): Promise<Usage> {
  const count = async (flag: string) => {
    const { stdout } = await run('du', ['-sx', flag, '--', folder], options);
    return Number.parseInt(stdout, 10);
  };
  const [bytes, entries] = await Promise.all([count('-B1'), count('--inodes')]);
  return { bytes, entries: Math.max(0, entries - 1) };
}
