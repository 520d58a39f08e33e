import { execFile } from 'node:child_process';
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { until } from './until.ts';

const run = promisify(execFile);

/**
 * Makes a file with an empty ext4, which has a journal. What of a mounted one's bytes has got to the file is what a
 * power cut leaves at that moment: the rest is in memory.
 */
export async function makeDisk(file: string, size: string): Promise<void> {
  await run('truncate', ['-s', size, file]);
  await run('mkfs.ext4', ['-q', '-F', '-O', 'has_journal', file]);
}

/** Copies such a file as a power cut would leave it. */
export async function copyDisk(file: string, copy: string): Promise<void> {
  // What has not changed since it was copied is what there was at one moment.
  do await copyFile(file, copy);
  while (!(await readFile(file)).equals(await readFile(copy)));
}

/** Mounts such a file; its journal is replayed where it was not unmounted. */
export async function mountDisk(
  file: string,
  place: string,
): Promise<{ path: string } & AsyncDisposable> {
  await mkdir(place, { recursive: true });
  await run('mount', ['-o', 'loop,noinit_itable', file, place]);
  return {
    path: place,
    async [Symbol.asyncDispose]() {
      await until('that nothing uses the disk', () => unmount(place));
    },
  };
}

/** @returns false where it is in use still; what is not mounted is success */
export async function unmount(place: string): Promise<boolean> {
  return await run('umount', [place]).then(
    () => true,
    (error: Error) => /not mounted|no mount point/.test(error.message),
  );
}
