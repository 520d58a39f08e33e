import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Worker } from 'node:worker_threads';
import { decodeError, type EncodedError } from '../../../shared/errors.ts';
import { makePipe } from '../linux/pipe.ts';
import type { WriteJob } from './write-thread.ts';
import type { TreeRequest } from './write-tree.ts';

/**
 * Writes an archive below a folder of a container, on a thread of its own: see {@link writeTree}.
 * @throws what writeTree throws; NO_SPACE
 */
export async function copyIn(
  archive: Readable,
  request: TreeRequest,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const { read, write } = makePipe();
  const pipe = new Socket({ fd: write, readable: false, writable: true });
  const worker = new Worker(new URL('./write-thread.ts', import.meta.url), {
    name: 'copy',
    workerData: { ...request, input: read } satisfies WriteJob,
    trackUnmanagedFds: false,
    execArgv: [],
  });
  try {
    const written = new Promise<EncodedError | undefined>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
      worker.once('exit', () => reject(new Error('the thread that copies ended')));
    });
    const sent = pipeline(archive, pipe, options);
    // A thread that refuses the archive does not read on.
    void written.then(
      (failure) => failure && archive.destroy(),
      () => archive.destroy(),
    );
    const [failure, sending] = await Promise.all([written, sent.catch((error: unknown) => error)]);
    options.signal?.throwIfAborted();
    if (failure !== undefined) throw decodeError(failure);
    if (sending !== undefined) throw sending;
  } finally {
    pipe.destroy();
    await worker.terminate();
    closeSync(read);
  }
}
