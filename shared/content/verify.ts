import { createHash } from 'node:crypto';
import { DrayError } from '../errors.ts';
import { type Digest, splitDigest } from '../image/digest.ts';

/** Readings that may each say something else. */
const mostReadings = 5;

/**
 * Whether stored bytes have their digest. Bytes that are wrong twice in the same way are stored so; any other
 * difference came about on the way.
 * @throws STORE_UNAVAILABLE when every reading brings other bytes, and what `read` throws
 */
export async function hasDigest(
  digest: Digest,
  read: () => AsyncIterable<Uint8Array>,
): Promise<boolean> {
  const { algorithm } = splitDigest(digest);
  const wrong = new Set<string>();
  for (let reading = 0; reading < mostReadings; reading++) {
    const hash = createHash(algorithm);
    for await (const chunk of read()) hash.update(chunk);
    const found = `${algorithm}:${hash.digest('hex')}`;
    if (found === digest) return true;
    if (wrong.has(found)) return false;
    wrong.add(found);
  }
  throw new DrayError('STORE_UNAVAILABLE', `The store gives other bytes for ${digest} each time`, {
    retryable: true,
    hint: 'Something between here and the store, or the store itself, is broken.',
    context: { digest },
  });
}
