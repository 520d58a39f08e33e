import { open, rm } from 'node:fs/promises';
import { errnoOf } from '../../../shared/errors.ts';
import { bindMount, unmount } from '../linux/mount.ts';

/**
 * Holds the network namespace of a process by a file, so that it lives until {@link releaseNamespace}, and
 * what leads out of it can be taken down in order after the process has ended.
 */
export async function holdNamespace(pid: number, file: string): Promise<void> {
  await (await open(file, 'a', 0o400)).close();
  await bindMount(`/proc/${pid}/ns/net`, file);
}

/** Undoes {@link holdNamespace}. What is not there is success. */
export async function releaseNamespace(file: string): Promise<void> {
  try {
    await unmount(file);
  } catch (error) {
    // EINVAL: nothing is mounted there.
    if (errnoOf(error) !== 'EINVAL' && errnoOf(error) !== 'ENOENT') throw error;
  }
  await rm(file, { force: true });
}
