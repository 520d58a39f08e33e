import { DrayError } from '../errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { readVerified } from './blob.ts';
import type { ContentStore, VerifyOptions } from './store.ts';

/**
 * A small blob of the store, verified. A wrong one is set aside, unless `readOnly`; bytes that were torn on their way
 * are read again.
 * @returns undefined when the store does not have it (any more)
 * @throws SIZE_MISMATCH when the blob is right and the descriptor lies, STORE_UNAVAILABLE
 */
export async function readStored(
  content: Pick<ContentStore, 'read' | 'verify'>,
  descriptor: Descriptor,
  options: VerifyOptions & { maxBytes: number },
): Promise<Buffer | undefined> {
  const { maxBytes, ...call } = options;
  // Throws, and reads nothing.
  if (descriptor.size > maxBytes) return await readVerified(content, descriptor, options);
  for (let tries = 1; ; tries++) {
    try {
      return await readVerified(content, descriptor, options);
    } catch (error) {
      if (!(error instanceof DrayError)) throw error;
      if (error.code === 'NOT_FOUND') return undefined;
      if (error.code !== 'DIGEST_MISMATCH' && error.code !== 'SIZE_MISMATCH') throw error;
      if ((await content.verify(descriptor.digest, call)) !== 'right') return undefined;
      if (error.code === 'SIZE_MISMATCH') throw error;
      if (tries === 5) throw torn(error, descriptor);
    }
  }
}

/** As {@link readStored}, of a blob that was put just now. @throws STORE_UNAVAILABLE (retryable) when it is gone again */
export async function readJustStored(
  ...[content, descriptor, options]: Parameters<typeof readStored>
): Promise<Buffer> {
  const bytes = await readStored(content, descriptor, options);
  if (bytes !== undefined) return bytes;
  const { digest } = descriptor;
  throw new DrayError('STORE_UNAVAILABLE', `${digest} is in the store no more, or wrong`, {
    retryable: true,
    hint: 'The next attempt fetches it again.',
    context: { digest },
  });
}

function torn(cause: DrayError, { digest }: Descriptor): DrayError {
  return new DrayError('STORE_UNAVAILABLE', `${digest} is torn on its way from the store`, {
    cause,
    retryable: true,
    hint: 'Look for what is between here and the store, or whether the store is sound.',
    context: { digest },
  });
}
