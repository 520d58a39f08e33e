import { readVerified } from '../../shared/content/blob.ts';
import type { CallOptions, ImageRecord, Store } from '../../shared/content/store.ts';
import { imagesUnder } from '../../shared/content/stored-image.ts';
import { isImageConfigType, maxConfigBytes, parseImageConfig } from '../../shared/image/config.ts';
import { type Descriptor, isIndexType } from '../../shared/image/descriptor.ts';
import { type ChainID, chainIDs, type Digest } from '../../shared/image/digest.ts';
import type { Manifest } from '../../shared/image/manifest.ts';
import { readManifest, storedBytes } from '../image-names.ts';

export interface ImageFact {
  /** Bytes that the store holds of it. */
  size: number;
  /** Of its uppermost layer: who has that snapshot can run it. Undefined for an artifact. */
  chainID?: ChainID;
}

/** Images whose facts are remembered. */
const keepFacts = 10_000;

/** What follows from the digests of an image, and so is read from the store once. */
export class ImageFacts {
  readonly #store: Store;
  readonly #known = new Map<string, ImageFact>();
  /** What indexes lead to. */
  readonly #indexes = new Map<Digest, Descriptor[]>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Undefined for an image whose manifest or configuration was removed or is damaged: it is listed all the same. */
  async of(record: ImageRecord, options: CallOptions): Promise<ImageFact | undefined> {
    const key = `${record.target.digest} ${record.manifest.digest}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    try {
      const fact = await this.#read(record, options);
      remember(this.#known, key, fact);
      return fact;
    } catch {
      options.signal?.throwIfAborted();
      return undefined;
    }
  }

  /**
   * Of an image the one that some node holds: of an index, that for any platform.
   * @returns it, as the record of that one; undefined when it holds none
   */
  async heldOf(
    record: ImageRecord,
    held: ReadonlySet<Digest>,
    options: CallOptions,
  ): Promise<ImageRecord | undefined> {
    const { target, manifest } = record;
    if (held.has(manifest.digest)) return record;
    if (held.size === 0 || !isIndexType(target.mediaType)) return undefined;
    const own = (await this.#imagesUnder(target, options)).find(({ digest }) => held.has(digest));
    return own === undefined ? undefined : { ...record, manifest: own };
  }

  async #imagesUnder(index: Descriptor, options: CallOptions): Promise<Descriptor[]> {
    const known = this.#indexes.get(index.digest);
    if (known !== undefined) return known;
    try {
      const images = await imagesUnder(this.#store.content, index, options);
      remember(this.#indexes, index.digest, images);
      return images;
    } catch {
      options.signal?.throwIfAborted();
      return [];
    }
  }

  async #read(record: ImageRecord, options: CallOptions): Promise<ImageFact> {
    const manifest = await readManifest(record.manifest, this.#store, options);
    const size = storedBytes(record, manifest);
    const chainID = await this.#chainIDOf(manifest, options);
    return chainID === undefined ? { size } : { size, chainID };
  }

  async #chainIDOf(manifest: Manifest, options: CallOptions): Promise<ChainID | undefined> {
    if (!isImageConfigType(manifest.config.mediaType)) return undefined;
    const limits = { ...options, maxBytes: maxConfigBytes };
    const bytes = await readVerified(this.#store.content, manifest.config, limits);
    const config = parseImageConfig(bytes, manifest, manifest.config.digest);
    return chainIDs(config.rootfs.diff_ids).at(-1);
  }
}

function remember<K, V>(known: Map<K, V>, key: K, value: V): void {
  const [oldest] = known.keys();
  if (known.size >= keepFacts && oldest !== undefined) known.delete(oldest);
  known.set(key, value);
}
