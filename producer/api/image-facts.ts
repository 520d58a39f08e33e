import { readVerified } from '../../shared/content/blob.ts';
import type { CallOptions, ImageRecord, Store } from '../../shared/content/store.ts';
import { type ChainID, chainIDs } from '../../shared/image/digest.ts';
import {
  isImageConfigType,
  type Manifest,
  maxConfigBytes,
  parseImageConfig,
} from '../../shared/image/manifest.ts';
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
      const [oldest] = this.#known.keys();
      if (this.#known.size >= keepFacts && oldest !== undefined) this.#known.delete(oldest);
      this.#known.set(key, fact);
      return fact;
    } catch {
      options.signal?.throwIfAborted();
      return undefined;
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
