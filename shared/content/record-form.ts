import { createHash } from 'node:crypto';
import { z } from 'zod';
import { DrayError } from '../errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { type Digest, isDigest } from '../image/digest.ts';

/** How a kind of record is stored beside the content. */
export interface RecordForm<T> {
  encode(record: T): string;
  /** @param place for the message @throws STORE_UNAVAILABLE when the text is no such record */
  decode(text: string, place: string): T;
}

/** A descriptor as records have it: written from one that the manifest's parser had checked. */
export const descriptorSchema = z
  .looseObject({
    mediaType: z.string(),
    digest: z.custom<Digest>((value) => typeof value === 'string' && isDigest(value)),
    size: z.int().min(0),
  })
  .transform((value) => value as Descriptor);

/** A moment as records have it. */
export const timeSchema = z.iso.datetime().transform((text) => new Date(text));

/** The file name or key under which a name's record stands: of one length, whatever the name has in it. */
export function recordKey(name: string): string {
  return `${createHash('sha256').update(name).digest('hex')}.json`;
}

/** Records as JSON that the schema reads; dates are ISO 8601 texts. */
export function jsonForm<T>(
  schema: z.ZodType<T>,
  what: { kind: string; hint: string },
): RecordForm<T> {
  return {
    encode: (record) => `${JSON.stringify(record, null, 2)}\n`,
    decode(text, place) {
      try {
        return schema.parse(JSON.parse(text));
      } catch (error) {
        throw new DrayError('STORE_UNAVAILABLE', `The ${what.kind} ${place} can't be read`, {
          cause: error,
          hint: `It was damaged or written by another program. ${what.hint}`,
          context: { place },
        });
      }
    },
  };
}
