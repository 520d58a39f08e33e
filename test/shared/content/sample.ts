import { createCipheriv, createHash } from 'node:crypto';
import type { ContentStore } from '../../../shared/content/store.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import { type DigestAlgorithm, digestOf } from '../../../shared/image/digest.ts';

/** Bytes that nothing compresses, the same for the same seed. */
export function sampleBytes(size: number, seed: string): Buffer {
  const key = createHash('sha256').update(seed).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

export function describeBytes(bytes: Buffer, algorithm: DigestAlgorithm = 'sha256'): Descriptor {
  const mediaType = 'application/octet-stream';
  return { mediaType, digest: digestOf(bytes, algorithm), size: bytes.length };
}

/** Writes `bytes` from `start` on, in pieces as a network brings them. */
export async function writeFrom(
  ingest: { write(chunk: Uint8Array): Promise<void> | undefined },
  bytes: Buffer,
  start: number,
  end = bytes.length,
): Promise<void> {
  for (let at = start; at < end; at += 65_536) {
    await ingest.write(bytes.subarray(at, Math.min(at + 65_536, end)));
  }
}

export async function toArray<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** All bytes. A chunk is good until the next one is asked for. */
export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const copies: Buffer[] = [];
  for await (const chunk of chunks) copies.push(Buffer.from(chunk));
  return Buffer.concat(copies);
}

/** Waits until the store says that at least `bytes` of an ingest are stored. */
export async function untilStored(
  content: ContentStore,
  { digest }: Descriptor,
  bytes: number,
): Promise<void> {
  for (;;) {
    for await (const ingest of content.ingests({ signal: AbortSignal.timeout(20_000) })) {
      if (ingest.digest === digest && ingest.offset >= bytes) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
