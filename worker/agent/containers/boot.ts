import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const bootID = '/proc/sys/kernel/random/boot_id';

/** Says which boot a folder is of. */
export const bootFile = (folder: string): string => join(folder, 'boot-id');

/**
 * Empties a folder of what ends with a reboot, when the node was booted since: where it does not lie in
 * memory, runtimes, sockets and addresses that are no more would be believed.
 * @param idFile where the kernel says which boot this is
 */
export async function forgetBootBefore(folder: string, idFile = bootID): Promise<void> {
  const file = bootFile(folder);
  const current = (await readFile(idFile, 'utf8')).trim();
  const before = await readFile(file, 'utf8').catch(() => undefined);
  if (before === current) return;
  if (before !== undefined) await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(file, current);
}
