import { type FileHandle, open } from 'node:fs/promises';
import type { Descriptor } from '../../image/descriptor.ts';
import type { Digest } from '../../image/digest.ts';
import { sizeMismatch } from '../blob.ts';
import { pause } from '../pause.ts';
import type { CallOptions, FileRange } from '../store.ts';
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

interface FollowOptions extends CallOptions {
  offset?: number;
  advanced?: EventTarget;
}

/** The bytes of a blob while they come in; see {@link followFile}. */
export async function* followInFolder(
  layout: Layout,
  descriptor: Descriptor,
  options: FollowOptions,
): AsyncIterable<Uint8Array> {
  /** One for all chunks: new ones would keep the garbage collector as busy as the layer keeps its threads. */
  let buffer: Buffer | undefined;
  for await (const { source, position, length } of rangesOf(layout, descriptor, options)) {
    buffer ??= Buffer.allocUnsafeSlow(
      Math.min(chunkBytes, descriptor.size - (options.offset ?? 0)),
    );
    for (let at = 0; at < length; ) {
      const most = Math.min(buffer.length, length - at);
      const { bytesRead } = await source
        .read(buffer, 0, most, position + at)
        .catch((error: unknown) => {
          throw folderError(error, layout.root);
        });
      if (bytesRead === 0) throw wasCut(position + at);
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }
}

/** Where the bytes of a blob stand while they come in; see {@link ContentStore.followFile}. */
export async function* followFile(
  layout: Layout,
  descriptor: Descriptor,
  options: FollowOptions,
): AsyncIterable<FileRange> {
  for await (const { source, position, length } of rangesOf(layout, descriptor, options)) {
    yield { fd: source.fd, position, length };
  }
}

/**
 * Whoever has more than we have is read from: the blob, or any writer's file, so that a writer who died is left as
 * soon as another one is further.
 */
async function* rangesOf(
  layout: Layout,
  descriptor: Descriptor,
  options: FollowOptions,
): AsyncGenerator<{ source: FileHandle; position: number; length: number }> {
  const { digest, size } = descriptor;
  const { signal } = options;
  let position = options.offset ?? 0;
  let source: FileHandle | undefined;
  let isBlob = false;
  let lastBytes = performance.now();
  let waiting = shortestPause;
  try {
    for (;;) {
      signal?.throwIfAborted();
      if (source !== undefined && position < size) {
        const end = Math.min((await source.stat()).size, size);
        if (end > position) {
          yield { source, position, length: end - position };
          position = end;
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
