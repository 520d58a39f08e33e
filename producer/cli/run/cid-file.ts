import { rmSync, writeFileSync } from 'node:fs';
import { DrayError, errnoOf, messageOf } from '../../../shared/errors.ts';
import type { AgentClient } from '../../agent/client.ts';

export interface CidFileRequest {
  file: string;
  /** Of the container that is made. */
  id: string;
  connect: () => Promise<AgentClient>;
}

/**
 * Writes the id of a container to a file before it is made, and removes the file when there is none in the end.
 * @throws USAGE when the file is there already, or can't be written
 */
export async function withCidFile<T>(
  { file, id, connect }: CidFileRequest,
  make: () => Promise<T>,
): Promise<T> {
  try {
    writeFileSync(file, id, { flag: 'wx' });
  } catch (error) {
    throw errnoOf(error) === 'EEXIST'
      ? new DrayError('USAGE', `--cidfile: ${file} is there already`, {
          hint: 'The container that it names may still run. Remove the file, or choose another.',
        })
      : new DrayError('USAGE', `--cidfile: ${file} can't be written: ${messageOf(error)}`, {
          cause: error,
        });
  }
  const forget = () => rmSync(file, { force: true });
  // Who leaves before it runs leaves none behind.
  process.once('exit', forget);
  try {
    return await make();
  } catch (error) {
    // One that could not be started is there all the same.
    if (await isAbsent(id, connect)) forget();
    throw error;
  } finally {
    process.off('exit', forget);
  }
}

async function isAbsent(id: string, connect: () => Promise<AgentClient>): Promise<boolean> {
  try {
    await (await connect()).containers.inspect(id);
    return false;
  } catch (error) {
    return error instanceof DrayError && error.code === 'NOT_FOUND';
  }
}
