import { type FileHandle, open } from 'node:fs/promises';
import type { Descriptor } from '../../image/descriptor.ts';
import type { Digest } from '../../image/digest.ts';
import { sizeMismatch } from '../blob.ts';
import { pause } from '../pause.ts';
import type { CallOptions } from '../store.ts';
import { folderError, ifThere } from './errors.ts';
import type { Layout } from './layout.ts';
import { readAt, readFileFrom } from './read.ts';
import { writerFiles } from './writer-files.ts';

/** Milliseconds between two looks at a file that grows: at first, while bytes come, and when none came for long. */
const shortestPause = 4;
const usualPause = 16;
const longestPause = 100;
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
  let lastBytes = performance.now();
  let waiting = shortestPause;
  try {
    for (;;) {
      signal?.throwIfAborted();
      if (source !== undefined && position < size) {
        const chunk = await readAt(source, position, size);
        if (chunk.length > 0) {
          position += chunk.length;
          yield chunk;
          lastBytes = performance.now();
          waiting = shortestPause;
          continue;
        }
      }
      const blob = await ifThere(open(layout.blob(digest), 'r'));
      if (blob !== undefined) {
        await source?.close();
        source = blob;
        const { size: found } = await blob.stat();
        if (found !== size) throw sizeMismatch(descriptor, found);
        yield* readFileFrom(blob, position, size, options);
        return;
      }
      const further = position < size ? await openBeyond(layout, digest, position) : undefined;
      if (further !== undefined) {
        await source?.close();
        source = further;
        continue;
      }
      await pause(waiting, options);
      const most = performance.now() - lastBytes > longAfter ? longestPause : usualPause;
      waiting = Math.min(waiting * 2, most);
    }
  } catch (error) {
    throw folderError(error, layout.root);
  } finally {
    await source?.close();
  }
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
