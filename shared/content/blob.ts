import { DrayError } from '../errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { digestOf, splitDigest } from '../image/digest.ts';
import type { CallOptions, ContentStore } from './store.ts';

/**
 * Reads a small blob whole and checks its size and digest once more.
 * @throws SIZE_MISMATCH also when it is larger than `maxBytes`, DIGEST_MISMATCH, NOT_FOUND, STORE_UNAVAILABLE
 */
export async function readVerified(
  content: Pick<ContentStore, 'read'>,
  descriptor: Descriptor,
  options: CallOptions & { maxBytes: number },
): Promise<Buffer> {
  const { digest, size } = descriptor;
  const { maxBytes, ...call } = options;
  if (size > maxBytes) {
    throw new DrayError(
      'SIZE_MISMATCH',
      `${digest} has ${size} bytes, more than the ${maxBytes} that such a blob may have`,
      { hint: 'The image is broken or hostile.', context: { digest, size, maxBytes } },
    );
  }
  const chunks: Uint8Array[] = [];
  let found = 0;
  for await (const chunk of content.read(digest, { ...call, length: size + 1 })) {
    chunks.push(chunk);
    found += chunk.length;
  }
  if (found !== size) throw sizeMismatch(descriptor, found > size ? `more than ${size}` : found);
  const bytes = Buffer.concat(chunks, found);
  const actual = digestOf(bytes, splitDigest(digest).algorithm);
  if (actual !== digest) throw digestMismatch(descriptor, actual);
  return bytes;
}

/** Puts a small blob that is in memory. A blob that is there already is success. @throws as {@link ContentStore.ingest} */
export async function putBytes(
  content: Pick<ContentStore, 'ingest'>,
  descriptor: Descriptor,
  bytes: Uint8Array,
  options: CallOptions = {},
): Promise<'committed' | 'exists'> {
  await using ingest = await content.ingest(descriptor, options);
  if (ingest.offset > 0) await ingest.reset(options);
  await ingest.write(bytes);
  return await ingest.commit(options);
}

/** What is said of bytes that are not as many as the descriptor says. */
export function sizeMismatch(descriptor: Descriptor, found: number | string): DrayError {
  const { digest, size } = descriptor;
  return new DrayError('SIZE_MISMATCH', `${digest} should have ${size} bytes, but has ${found}`, {
    hint: 'Whoever wrote the descriptor or sent the bytes is wrong. The bytes were dropped.',
    context: { digest, expected: size, found },
  });
}

/**
 * What is wrong with a blob that was written whole; undefined when it is what its descriptor says.
 * @param written how many bytes, and their digest by the descriptor's algorithm in hex
 */
export function mismatchOf(
  descriptor: Descriptor,
  { bytes, hex }: { bytes: number; hex: string },
): DrayError | undefined {
  const { digest, size } = descriptor;
  if (bytes !== size) return sizeMismatch(descriptor, bytes);
  const found = `${splitDigest(digest).algorithm}:${hex}`;
  return found === digest ? undefined : digestMismatch(descriptor, found);
}

/** What is said of bytes that are not those that the descriptor names. */
function digestMismatch(descriptor: Descriptor, found: string): DrayError {
  const { digest } = descriptor;
  return new DrayError('DIGEST_MISMATCH', `The bytes of ${digest} have the digest ${found}`, {
    hint: 'They were changed on their way, or the source is broken. They were dropped.',
    context: { expected: digest, found },
  });
}
