import { type FileHandle, open } from 'node:fs/promises';
import { DrayError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { CallOptions, ReadOptions } from '../store.ts';
import { folderError, ifThere } from './errors.ts';
import type { Layout } from './layout.ts';

/** Bytes that one read asks for. */
export const chunkBytes = 1 << 20;

/** The bytes of a committed blob. @throws NOT_FOUND, STORE_UNAVAILABLE */
export async function* readBlob(
  layout: Layout,
  digest: Digest,
  options: ReadOptions = {},
): AsyncIterable<Uint8Array> {
  const { offset = 0, length = Number.POSITIVE_INFINITY, signal } = options;
  signal?.throwIfAborted();
  try {
    const handle = await ifThere(open(layout.blob(digest), 'r'));
    if (handle === undefined) {
      throw new DrayError('NOT_FOUND', `The content store ${layout.root} has no blob ${digest}`, {
        hint: 'Pull the image that it belongs to.',
        context: { digest },
      });
    }
    try {
      const { size } = await handle.stat();
      yield* readFileFrom(handle, offset, Math.min(size, offset + length), options);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw folderError(error, layout.root);
  }
}

/** The bytes of a file from `start` up to `end`, one read ahead of the reader. @throws STORE_UNAVAILABLE when it is shorter */
export async function* readFileFrom(
  handle: FileHandle,
  start: number,
  end: number,
  { signal }: CallOptions,
): AsyncIterable<Uint8Array> {
  if (start >= end) return;
  let position = start;
  let ahead = readAt(handle, position, end);
  try {
    while (position < end) {
      const chunk = await ahead;
      if (chunk.length === 0) {
        throw wasCut(position);
      }
      position += chunk.length;
      if (position < end) ahead = readAt(handle, position, end);
      signal?.throwIfAborted();
      yield chunk;
      signal?.throwIfAborted();
    }
  } finally {
    // The file must not be closed under a read.
    await ahead.catch(() => {});
  }
}

/** What a file says that ends before its blob does. */
export function wasCut(position: number): DrayError {
  return new DrayError('STORE_UNAVAILABLE', `A file of the content store was cut at ${position}`);
}

/** The next bytes of a file, up to `end` and at most one chunk; none at its end. */
async function readAt(handle: FileHandle, position: number, end: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(chunkBytes, end - position));
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
  // Few bytes must not hold a large buffer.
  return bytesRead < buffer.length / 2
    ? Buffer.from(buffer.subarray(0, bytesRead))
    : buffer.subarray(0, bytesRead);
}
