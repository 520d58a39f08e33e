import { createHash } from 'node:crypto';
import { z } from 'zod';
import { DrayError } from '../errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { type Digest, isDigest } from '../image/digest.ts';
import type { ImageRecord } from './store.ts';

const descriptorSchema = z.looseObject({
  mediaType: z.string(),
  digest: z.custom<Digest>((value) => typeof value === 'string' && isDigest(value)),
  size: z.int().min(0),
});

const recordSchema = z.looseObject({
  name: z.string().min(1),
  target: descriptorSchema,
  manifest: descriptorSchema,
  updatedAt: z.iso.datetime(),
});

/** The file name or key under which a name's record stands: of one length, whatever the name has in it. */
export function recordKey(name: string): string {
  return `${createHash('sha256').update(name).digest('hex')}.json`;
}

/** The stored form of a record. */
export function encodeRecord(record: ImageRecord): string {
  return `${JSON.stringify({ ...record, updatedAt: record.updatedAt.toISOString() }, null, 2)}\n`;
}

/** Reads a stored record. @throws STORE_UNAVAILABLE when it is not one */
export function decodeRecord(text: string, place: string): ImageRecord {
  try {
    const parsed = recordSchema.parse(JSON.parse(text));
    return {
      name: parsed.name,
      // Written by encodeRecord from descriptors that the manifest's parser had checked.
      target: parsed.target as Descriptor,
      manifest: parsed.manifest as Descriptor,
      updatedAt: new Date(parsed.updatedAt),
    };
  } catch (error) {
    throw new DrayError('STORE_UNAVAILABLE', `The image record ${place} can't be read`, {
      cause: error,
      hint: 'It was damaged or written by another program. Remove it and pull the image again.',
      context: { place },
    });
  }
}
