import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../shared/errors.ts';

/** What leads to all of it, from Redis 7 on and before. */
const appendOnlyFiles = ['appendonlydir/appendonly.aof.manifest', 'appendonly.aof'];
/** Milliseconds for a file of some gigabytes. */
const bound = 300_000;

/**
 * Has Redis' own tool cut its append-only file off where a command is not whole. After a power cut there may be zero
 * bytes, where the file system kept the length of a file and not yet all of its bytes, and Redis does not start with
 * them: by itself it drops only a command that the file breaks off in. Whatever becomes of it, Redis has the last word.
 * @param folder Redis' own
 */
export async function repairAppendOnlyFile(folder: string): Promise<void> {
  const file = appendOnlyFiles.map((name) => path.join(folder, name)).find(existsSync);
  if (file === undefined) return;
  const tool = spawn('redis-check-aof', ['--fix', file], {
    stdio: ['pipe', 'ignore', 'ignore'],
    timeout: bound,
  });
  // Whether it may. It asks nothing where all is whole.
  tool.stdin.on('error', () => {}).end('y\n');
  try {
    await once(tool, 'exit');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
