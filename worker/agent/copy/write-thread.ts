import { readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { DrayError, type EncodedError, encodeError, errnoOf } from '../../../shared/errors.ts';
import { type TreeRequest, writeTree } from './write-tree.ts';

/** What the thread is given: the archive comes from a pipe. */
export interface WriteJob extends TreeRequest {
  input: number;
}

const chunk = Buffer.allocUnsafe(256 * 1024);
const { input, ...request } = workerData as WriteJob;

function pull(): Buffer | undefined {
  const length = readSync(input, chunk);
  return length === 0 ? undefined : chunk.subarray(0, length);
}

let failure: EncodedError | undefined;
try {
  writeTree(pull, request);
} catch (error) {
  failure = encodeError(asCopyError(error));
}
parentPort?.postMessage(failure);

function asCopyError(error: unknown): unknown {
  if (error instanceof DrayError) {
    if (error.code !== 'LAYER_INVALID' && error.code !== 'LAYER_LIMIT') return error;
    return new DrayError('USAGE', `The archive can't be read: ${error.message}`);
  }
  const errno = errnoOf(error);
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new DrayError('NO_SPACE', 'No space is left for what is copied into the container');
  }
  if (errno === undefined) return error;
  return new DrayError(
    'CONFLICT',
    `What is copied can't be written in the container: ${(error as Error).message}`,
  );
}
