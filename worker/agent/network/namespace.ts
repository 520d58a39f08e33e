import { open, rm, statfs } from 'node:fs/promises';
import { errnoOf } from '../../../shared/errors.ts';
import { bindMount, unmount } from '../linux/mount.ts';

/** NSFS_MAGIC of linux/magic.h: the file system that namespaces are files of. */
const namespaceMagic = 0x6e736673;

/**
 * Holds the network namespace of a process by a file, so that it lives until {@link releaseNamespace}, and
 * what leads out of it can be taken down in order after the process has ended.
 */
export async function holdNamespace(pid: number, file: string): Promise<void> {
  await (await open(file, 'a', 0o400)).close();
  await bindMount(`/proc/${pid}/ns/net`, file);
}

/** Whether a file holds a namespace: one whose agent died before it did so, or halfway out, is an empty file. */
export async function isNamespaceHeld(file: string): Promise<boolean> {
  try {
    return (await statfs(file)).type === namespaceMagic;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
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
