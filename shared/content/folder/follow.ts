import { type FileHandle, open } from 'node:fs/promises';
import type { Descriptor } from '../../image/descriptor.ts';
import type { Digest } from '../../image/digest.ts';
import { sizeMismatch } from '../blob.ts';
import { pause } from '../pause.ts';
import type { CallOptions } from '../store.ts';
import { folderError, ifThere } from './errors.ts';
import type { Layout } from './layout.ts';
import { chunkBytes, wasCut } from './read.ts';
import { writerFiles } from './writer-files.ts';

/**
 * Milliseconds between two looks at a file that grows: at first, while bytes come, and when none came for long; then
 * longer where somebody says that bytes come.
 */
const shortestPause = 4;
const usualPause = 16;
const longestPause = 100;
const hintedPause = 1000;
const longAfter = 1000;

/**
 * The bytes of a blob while they come in. Whoever has more than we have is read from: the blob, or any writer's
 * file, so that a writer who died is left as soon as another one is further.
 */
export async function* followInFolder(
  layout: Layout,
  descriptor: Descriptor,
  options: CallOptions & { offset?: number; advanced?: EventTarget },
): AsyncIterable<Uint8Array> {
  const { digest, size } = descriptor;
  const { signal } = options;
  let position = options.offset ?? 0;
  let source: FileHandle | undefined;
  let isBlob = false;
  /** One for all chunks: new ones would keep the garbage collector as busy as the layer keeps its threads. */
  let buffer: Buffer | undefined;
  let lastBytes = performance.now();
  let waiting = shortestPause;
  try {
    for (;;) {
      signal?.throwIfAborted();
      if (source !== undefined && position < size) {
        buffer ??= Buffer.allocUnsafeSlow(Math.min(chunkBytes, size - position));
        const most = Math.min(buffer.length, size - position);
        const { bytesRead } = await source.read(buffer, 0, most, position);
        if (bytesRead > 0) {
          position += bytesRead;
          yield buffer.subarray(0, bytesRead);
          lastBytes = performance.now();
          waiting = shortestPause;
          continue;
        }
        if (isBlob) throw wasCut(position);
      }
      if (isBlob) return;
      const blob = await ifThere(open(layout.blob(digest), 'r'));
      if (blob !== undefined) {
        await source?.close();
        source = blob;
        isBlob = true;
        const { size: found } = await blob.stat();
        if (found !== size) throw sizeMismatch(descriptor, found);
        continue;
      }
      const further = position < size ? await openBeyond(layout, digest, position) : undefined;
      if (further !== undefined) {
        await source?.close();
        source = further;
        continue;
      }
      await pause(waiting, options);
      waiting = Math.min(waiting * 2, longestOf(performance.now() - lastBytes, options));
    }
  } catch (error) {
    throw folderError(error, layout.root);
  } finally {
    await source?.close();
  }
}

function longestOf(stillMs: number, { advanced }: { advanced?: EventTarget }): number {
  if (stillMs <= longAfter) return usualPause;
  return advanced === undefined ? longestPause : hintedPause;
}

/** The longest file that has bytes after `position`. */
async function openBeyond(
  layout: Layout,
  digest: Digest,
  position: number,
): Promise<FileHandle | undefined> {
  const [longest] = await writerFiles(layout, digest);
  if (longest === undefined || longest.length <= position) return undefined;
  return await ifThere(open(longest.file, 'r'));
}
