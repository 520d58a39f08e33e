import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

const prefix = 'exec-';

/** A folder in a bundle for the files of one call of the runtime's exec; removed when it is disposed. */
export async function makeExecFolder(
  bundle: string,
): Promise<AsyncDisposable & { folder: string }> {
  const folder = join(bundle, `${prefix}${randomBytes(6).toString('hex')}`);
  await mkdir(folder, { mode: 0o700 });
  return {
    folder,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Removes what an agent that died has left of them in a bundle, but for those whose runtime is still at work. */
export async function sweepExecFolders(bundle: string): Promise<void> {
  if (!existsSync(bundle)) return;
  const found = readdirSync(bundle).filter((name) => name.startsWith(prefix));
  if (found.length === 0) return;
  const commands = commandLines();
  for (const name of found) {
    const folder = join(bundle, name);
    if (commands.some((line) => line.includes(`${folder}/`))) continue;
    await rm(folder, { recursive: true, force: true });
  }
}

/** Of all processes of the node. */
function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        // It has ended.
        return '';
      }
    });
}
