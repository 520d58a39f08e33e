import type { Digest } from '../../image/digest.ts';
import type { CallOptions } from '../store.ts';
import type { Bucket } from './bucket.ts';
import type { Keys } from './keys.ts';

/** A piece of a blob on its way in, as an object of its own. */
export interface Part {
  key: string;
  /** Where in the blob it begins. */
  offset: number;
  /** Bytes. */
  size: number;
  etag: string;
}

export interface FoundPart extends Part {
  digest: Digest;
  writer: string;
  blobSize: number;
  modifiedAt: Date;
}

/** The parts under a prefix: of one blob's writers, or of all. */
export async function* listParts(
  bucket: Bucket,
  keys: Keys,
  prefix: string,
  options: CallOptions,
): AsyncIterable<FoundPart> {
  for await (const object of bucket.list(prefix, options)) {
    const parsed = keys.parsePart(object.key);
    if (parsed !== undefined) yield { ...object, ...parsed };
  }
}

/** The parts that follow on each other from the blob's first byte: the largest where there are several, whoever wrote them. */
export function chainOf<T extends Part>(parts: Iterable<T>): T[] {
  const largest = new Map<number, T>();
  for (const part of parts) {
    const other = largest.get(part.offset);
    if (part.size > 0 && (other === undefined || part.size > other.size)) {
      largest.set(part.offset, part);
    }
  }
  const chain: T[] = [];
  for (let next = largest.get(0); next !== undefined; ) {
    chain.push(next);
    next = largest.get(next.offset + next.size);
  }
  return chain;
}
