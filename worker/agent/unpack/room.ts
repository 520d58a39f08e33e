import { type FileHandle, open } from 'node:fs/promises';
import { DrayError } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import { detectCompression, magicSize } from '../layer/compression.ts';
import type { StoredContent } from './stored-layer.ts';

/** Bytes of a gzip member's end that say how long its data is, modulo 2^32 (RFC 1952, ISIZE). */
const lengthBytes = 4;

/**
 * Refuses layers that the disk can't hold all together, before a byte of them is written. What a layer takes is known
 * where its blob is a file of this machine, and at least its compressed size where not: what fits is never refused.
 * @throws NO_SPACE
 */
export async function requireRoom(
  layers: readonly Descriptor[],
  content: Pick<StoredContent, 'info' | 'pathOf'>,
  options: { freeBytes: () => Promise<number>; signal?: AbortSignal },
): Promise<void> {
  const sizes = await Promise.all(layers.map((layer) => unpackedSize(layer, content, options)));
  const needed = sizes.reduce((sum, size) => sum + size, 0);
  const free = await options.freeBytes();
  if (needed <= free) return;
  const what = layers.length === 1 ? 'The layer takes' : `The ${layers.length} layers take`;
  throw new DrayError(
    'NO_SPACE',
    `${what} at least ${needed} bytes; the disk of the snapshots has ${free} left`,
    { retryable: true, hint: 'Free space on the disk of the agent, then pull again.' },
  );
}

/** Bytes that a layer takes at least. */
async function unpackedSize(
  { digest, size }: Descriptor,
  content: Pick<StoredContent, 'info' | 'pathOf'>,
  options: { signal?: AbortSignal },
): Promise<number> {
  const file = content.pathOf?.(digest);
  if (file === undefined || (await content.info(digest, options)) === undefined) return size;
  return Math.max(size, await gzipLength(file, size));
}

/** What the end of a gzip file says of its length; 0 for any other file. Nothing but an estimate rests on it. */
async function gzipLength(file: string, size: number): Promise<number> {
  try {
    await using handle = await open(file, 'r');
    const start = await readAt(handle, 0, magicSize);
    if (detectCompression(start) !== 'gzip') return 0;
    return (await readAt(handle, size - lengthBytes, lengthBytes)).readUInt32LE(0);
  } catch {
    // Whoever applies the layer says what is wrong with it.
    return 0;
  }
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}
