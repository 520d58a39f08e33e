import type { ContentInfo, ContentStore } from '../../../shared/content/store.ts';
import { readStored } from '../../../shared/content/stored.ts';
import { messageOf } from '../../../shared/errors.ts';
import { type Descriptor, isIndexType, isManifestType } from '../../../shared/image/descriptor.ts';
import type { Digest } from '../../../shared/image/digest.ts';
import { maxManifestBytes, parseIndexOrManifest } from '../../../shared/image/manifest.ts';

/** Follows what must stay, from its roots to its layers. */
export class Marks {
  readonly marked = new Set<Digest>();
  /** What is not known to lead anywhere, though it should: nothing may go as long as there is any. */
  readonly problems: string[] = [];
  readonly #content: Pick<ContentStore, 'read' | 'verify'>;
  readonly #present: ReadonlyMap<Digest, ContentInfo>;
  readonly #followed = new Set<Digest>();

  /** @param present the blobs that there were before the roots were read: later ones are too young to go */
  constructor(
    content: Pick<ContentStore, 'read' | 'verify'>,
    present: ReadonlyMap<Digest, ContentInfo>,
  ) {
    this.#content = content;
    this.#present = present;
  }

  /** What a name stands for: it leads on, or it is a problem. */
  async name(name: string, descriptors: Descriptor[], options: { signal: AbortSignal }) {
    for (const descriptor of descriptors) {
      await this.#follow(descriptor, options, (why) => {
        this.problems.push(
          `${name}: ${why}. What belongs to it is not known, so that everything stays. Pull it again, or remove it: dray images rm ${name}`,
        );
      });
    }
  }

  /** What is kept as far as it is there. */
  async keep(descriptor: Descriptor, options: { signal: AbortSignal }): Promise<void> {
    await this.#follow(descriptor, options, () => {});
  }

  async #follow(
    { mediaType, digest, size }: Descriptor,
    options: { signal: AbortSignal },
    lacking: (why: string) => void,
  ): Promise<void> {
    options.signal.throwIfAborted();
    this.marked.add(digest);
    if (!isIndexType(mediaType) && !isManifestType(mediaType)) return;
    if (this.#followed.has(digest)) return;
    const bytes =
      this.#present.has(digest) &&
      (await readStored(
        this.#content,
        { mediaType, digest, size },
        { maxBytes: maxManifestBytes, ...options },
      ));
    if (bytes === undefined || bytes === false) {
      lacking(`the store lacks ${digest}`);
      return;
    }
    try {
      const parsed = parseIndexOrManifest(bytes, mediaType, digest);
      if ('manifest' in parsed) {
        for (const { digest } of [parsed.manifest.config, ...parsed.manifest.layers]) {
          this.marked.add(digest);
        }
      } else {
        // An index names images of platforms that nobody has asked for.
        for (const each of parsed.index.manifests) await this.#follow(each, options, () => {});
      }
      this.#followed.add(digest);
    } catch (error) {
      if (options.signal.aborted) throw error;
      lacking(messageOf(error));
    }
  }
}
