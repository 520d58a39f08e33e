import { createHash, type Hash } from 'node:crypto';
import type { ContentStore } from '../../../shared/content/store.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import { type Digest, splitDigest } from '../../../shared/image/digest.ts';
import type { LayerSource } from '../layer/lane.ts';

/** What of a content store stored layers are read from. */
export type StoredContent = Pick<
  ContentStore,
  'info' | 'read' | 'follow' | 'followFile' | 'pathOf' | 'verify'
>;

/** A layer's committed blob. */
type StoredSource = Exclude<LayerSource, { ranges: unknown }>;

/** What bytes that are not those of the digest look like to whoever applies them, or reads them from the store. */
const brokenBytes = new Set([
  'LAYER_INVALID',
  'LAYER_LIMIT',
  'DIFFID_MISMATCH',
  'SIZE_MISMATCH',
  'NOT_FOUND',
]);
const mostTries = 5;

export interface StoredOptions {
  signal: AbortSignal;
  /** Has a blob that the store lost, or has wrong, fetched again, and returns when that has begun; without it nobody would, and the loss is thrown. */
  refetch?: ((digest: Digest, why: string) => Promise<void>) | undefined;
}

/** Whether an error may come from bytes that are not those of the digest. */
export function mayBeBrokenBytes(error: unknown): error is DrayError {
  return error instanceof DrayError && brokenBytes.has(error.code);
}

/**
 * Applies a layer from its committed blob, which it waits for. A failure is the image's fault only where the bytes had
 * their digest: a wrong blob in the store is fetched again, and bytes that were torn on their way are read once more.
 */
export async function applyStored<T>(
  content: StoredContent,
  descriptor: Descriptor,
  apply: (source: StoredSource) => Promise<T>,
  options: StoredOptions,
): Promise<T> {
  const { digest } = descriptor;
  const { signal, refetch } = options;
  let doubted = false;
  for (let tries = 1; ; tries++) {
    let witness: Witness | undefined;
    try {
      const source = await waitForBlob(content, descriptor, options);
      if (doubted && !('file' in source)) witness = new Witness(source, digest);
      return await apply(witness ?? source);
    } catch (error) {
      if (signal.aborted || !mayBeBrokenBytes(error)) throw error;
      if (witness !== undefined && (await witness.isRight())) throw error;
      const verdict = await content.verify(digest, { signal, readOnly: true });
      if (verdict !== 'right') {
        if (refetch === undefined) throw lost(digest, verdict);
        await refetch(digest, verdict === 'missing' ? 'is gone' : 'is wrong');
      } else if (content.pathOf !== undefined || error.code === 'SIZE_MISMATCH') {
        // A local file is not torn; and what says another size is the manifest.
        throw error;
      }
      if (tries === mostTries) throw torn(error, digest);
      doubted = true;
    }
  }
}

/** Where a committed blob is read from; undefined when the store does not have it. */
export async function storedSource(
  content: StoredContent,
  { digest, size }: Descriptor,
  { signal }: { signal: AbortSignal },
): Promise<StoredSource | undefined> {
  const info = await content.info(digest, { signal });
  if (info === undefined || info.size !== size) return undefined;
  const file = content.pathOf?.(digest);
  return file === undefined ? content.read(digest, { signal }) : { file };
}

async function waitForBlob(
  content: StoredContent,
  descriptor: Descriptor,
  options: StoredOptions,
): Promise<StoredSource> {
  const found = await storedSource(content, descriptor, options);
  if (found !== undefined) return found;
  // From its end on, a blob has no bytes: this ends when it is committed.
  const { signal } = options;
  for await (const _ of content.follow(descriptor, { signal, offset: descriptor.size }));
  return (
    (await storedSource(content, descriptor, options)) ??
    content.read(descriptor.digest, { signal })
  );
}

/** Passes bytes on, and can tell of all of them, read or not, whether they had the digest. */
class Witness implements AsyncIterable<Uint8Array> {
  readonly #bytes: AsyncIterator<Uint8Array>;
  readonly #digest: Digest;
  readonly #hash: Hash;

  constructor(source: AsyncIterable<Uint8Array>, digest: Digest) {
    this.#bytes = source[Symbol.asyncIterator]();
    this.#digest = digest;
    this.#hash = createHash(splitDigest(digest).algorithm);
  }

  /** Whoever stops reading leaves the rest for {@link isRight}. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const { done, value } = await this.#bytes.next();
      if (done === true) return;
      this.#hash.update(value);
      yield value;
    }
  }

  async isRight(): Promise<boolean> {
    for await (const _ of this);
    const { algorithm } = splitDigest(this.#digest);
    return `${algorithm}:${this.#hash.digest('hex')}` === this.#digest;
  }
}

function lost(digest: Digest, verdict: 'missing' | 'wrong'): DrayError {
  const what = verdict === 'missing' ? 'lacks' : 'has wrong bytes for';
  return new DrayError('BLOB_UNKNOWN', `The content store ${what} layer ${digest}`, {
    hint: 'Fetch the image again: dray fetch REF',
    context: { digest },
  });
}

function torn(cause: DrayError, digest: Digest): DrayError {
  return new DrayError(
    'STORE_UNAVAILABLE',
    `The bytes of ${digest} are torn on their way from the content store: ${cause.message}`,
    {
      cause,
      retryable: true,
      hint: 'Look for what is between this node and the store, or whether the store is sound.',
      context: { digest },
    },
  );
}
