import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const size = '12G';

/** A new ext4 with a journal on a sparse file, so that every run begins on the same empty disk. */
export interface Disk extends AsyncDisposable {
  /** Where it is mounted. */
  folder: string;
}

export async function mountDisk(parent: string): Promise<Disk> {
  const file = path.join(parent, 'disk.img');
  const folder = path.join(parent, 'disk');
  await rm(file, { force: true });
  await mkdir(folder, { recursive: true });
  await run('truncate', ['-s', size, file]);
  await run('mkfs.ext4', ['-q', '-F', '-O', 'has_journal', file]);
  // Without a second page cache below it, which no disk has, and which a flush would have to write out alone.
  const { stdout } = await run('losetup', ['--find', '--show', '--direct-io=on', file]);
  const device = stdout.trim();
  try {
    // No thread that goes on formatting while the clock runs.
    await run('mount', ['-o', 'noinit_itable', device, folder]);
  } catch (error) {
    await run('losetup', ['--detach', device]);
    throw error;
  }
  return {
    folder,
    async [Symbol.asyncDispose]() {
      await run('sync', ['--file-system', folder]);
      await retried(() => run('umount', [folder]));
      await run('losetup', ['--detach', device]);
      await rm(file);
    },
  };
}

/** What was ended a moment ago may still hold it. */
async function retried(work: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await work();
      return;
    } catch (error) {
      if (tries === 50) throw error;
      await sleep(100);
    }
  }
}
