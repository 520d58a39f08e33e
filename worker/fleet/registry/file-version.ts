import { stat } from 'node:fs/promises';
import { errnoOf } from '../../../shared/errors.ts';

/**
 * What changes when a file does, by writing as well as by replacing; `missing` for one that is not there.
 * Follows links, so that a mounted Secret's switch of folders is seen.
 * @throws the file system's error when it can't be looked at
 */
export async function fileVersion(file: string): Promise<string> {
  try {
    const { mtimeMs, ctimeMs, size, ino, dev } = await stat(file);
    return `${mtimeMs} ${ctimeMs} ${size} ${ino} ${dev}`;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return 'missing';
    throw error;
  }
}
