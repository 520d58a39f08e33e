import { putBytes } from '../../shared/content/blob.ts';
import { readJustStored, readStored } from '../../shared/content/stored.ts';
import { DrayError } from '../../shared/errors.ts';
import type { Descriptor } from '../../shared/image/descriptor.ts';
import type { Digest } from '../../shared/image/digest.ts';
import {
  type ImageConfig,
  type Index,
  imageManifests,
  isImageConfigType,
  type Manifest,
  maxConfigBytes,
  maxManifestBytes,
  parseImageConfig,
  parseIndexOrManifest,
  selectPlatform,
} from '../../shared/image/manifest.ts';
import {
  allPlatforms,
  fallbacks,
  formatPlatform,
  hostPlatform,
  type Platform,
  parsePlatform,
  samePlatform,
} from '../../shared/image/platform.ts';
import { parseReference } from '../../shared/image/reference.ts';
import type { PlannedBlob, PullRecord } from '../../shared/pull/record.ts';
import { bytes as fetched } from '../../shared/telemetry/metrics.ts';
import { fetchBlob } from './registry/fetch.ts';
import type { FleetServices } from './services.ts';

/** Indexes inside indexes that are followed, and manifests of one pull. */
const maxIndexDepth = 4;
const maxManifests = 1_000;

interface CallOptions {
  signal: AbortSignal;
  credential: string | undefined;
}

/** What an image needs, and the manifest that nodes unpack: none where an index has none for this platform. */
export interface ImagePlan {
  manifest: Descriptor | undefined;
  /** The layers of that manifest, in its order. */
  layers: Digest[];
  blobs: PlannedBlob[];
}

/**
 * Follows a pinned descriptor to its manifests, brings index, manifests and configs into the store, and says which
 * layers the image has: of one platform, or of all.
 * @throws MANIFEST_INVALID, MANIFEST_UNSUPPORTED, CONFIG_INVALID, PLATFORM_UNKNOWN, and what the client throws
 */
export async function planImage(
  record: PullRecord,
  pinned: { target: Descriptor; existed: boolean },
  services: FleetServices,
  options: CallOptions,
): Promise<ImagePlan> {
  const plan = new Planner(record, services, options);
  if (record.want === 'manifest' && record.platform === allPlatforms) {
    return {
      manifest: undefined,
      layers: [],
      blobs: [await plan.only(pinned.target, pinned.existed)],
    };
  }
  const manifest = await plan.follow(pinned.target, pinned.existed, []);
  const layers = manifest === undefined ? [] : (plan.layers.get(manifest.digest) ?? []);
  return { manifest, layers, blobs: [...plan.blobs.values()] };
}

class Planner {
  /** What stands in an image twice is fetched once. */
  readonly blobs = new Map<Digest, PlannedBlob>();
  /** By manifest. */
  readonly layers = new Map<Digest, Digest[]>();
  readonly #record: PullRecord;
  readonly #services: FleetServices;
  readonly #options: CallOptions;
  readonly #wanted: Platform | undefined;

  constructor(record: PullRecord, services: FleetServices, options: CallOptions) {
    this.#record = record;
    this.#services = services;
    this.#options = options;
    this.#wanted = record.platform === allPlatforms ? undefined : parsePlatform(record.platform);
  }

  /** The index or manifest alone. */
  async only(descriptor: Descriptor, existed: boolean): Promise<PlannedBlob> {
    const { bytes } = await this.#stored(descriptor);
    const parsed = parseIndexOrManifest(bytes, descriptor.mediaType, this.#record.reference);
    return { descriptor, kind: 'index' in parsed ? 'index' : 'manifest', existed };
  }

  /** @returns the manifest that nodes unpack */
  async follow(
    descriptor: Descriptor,
    existed: boolean | undefined,
    above: readonly Digest[],
  ): Promise<Descriptor | undefined> {
    const { reference, want } = this.#record;
    if (above.includes(descriptor.digest) || above.length >= maxIndexDepth) {
      throw this.#invalid(
        `has indexes inside indexes, deeper than ${maxIndexDepth} or in a circle`,
      );
    }
    const found = await this.#stored(descriptor);
    const parsed = parseIndexOrManifest(found.bytes, descriptor.mediaType, reference);
    this.#add(descriptor, 'index' in parsed ? 'index' : 'manifest', existed ?? found.existed);
    if ('index' in parsed) return await this.#choose(parsed.index, [...above, descriptor.digest]);
    await this.#config(parsed.manifest);
    this.layers.set(
      descriptor.digest,
      parsed.manifest.layers.map(({ digest }) => digest),
    );
    if (want === 'image') await this.#layers(parsed.manifest);
    return descriptor;
  }

  async #choose(index: Index, above: readonly Digest[]): Promise<Descriptor | undefined> {
    const { reference } = this.#record;
    if (this.#wanted !== undefined) {
      return await this.follow(selectPlatform(index, this.#wanted, reference), undefined, above);
    }
    const chosen = (() => {
      try {
        return selectPlatform(index, hostPlatform(), reference);
      } catch {
        // The store shall hold it all the same; a node of this platform could not run it.
        return undefined;
      }
    })();
    let own: Descriptor | undefined;
    const wanted = imageManifests(index);
    // Before the first of them is asked for.
    if (this.blobs.size + wanted.length > maxManifests) {
      throw this.#invalid(`has more than ${maxManifests} manifests and blobs`);
    }
    for (const each of wanted) {
      if (this.blobs.has(each.digest)) continue;
      const manifest = await this.follow(each, undefined, above);
      if (each === chosen) own = manifest;
    }
    return own;
  }

  /** An index or manifest by its digest: from the store, else from the registry into the store. */
  async #stored(wanted: Descriptor): Promise<{ bytes: Buffer; existed: boolean }> {
    const { store, client, leases } = this.#services;
    const options = this.#options;
    const limits = { maxBytes: maxManifestBytes, ...options };
    const found = await readStored(store.content, wanted, limits);
    if (found !== undefined) return { bytes: found, existed: true };
    await leases.once(wanted.digest, options, async () => {
      const bytes = await client.manifest(parseReference(this.#record.reference), wanted, options);
      fetched.inc({ source: 'registry' }, wanted.size);
      await putBytes(store.content, wanted, bytes, options);
    });
    return { bytes: await readJustStored(store.content, wanted, limits), existed: false };
  }

  /** The image's configuration, checked against the manifest before any layer is fetched. */
  async #config(of: Manifest): Promise<void> {
    const { store, client, leases } = this.#services;
    const options = this.#options;
    const { reference } = this.#record;
    const descriptor = of.config;
    const isImage = isImageConfigType(descriptor.mediaType);
    if (descriptor.size > maxConfigBytes && isImage) {
      throw new DrayError(
        'CONFIG_INVALID',
        `The configuration of ${reference} has ${descriptor.size} bytes, more than ${maxConfigBytes}`,
      );
    }
    const limits = { maxBytes: maxConfigBytes, ...options };
    const found = isImage ? await readStored(store.content, descriptor, limits) : undefined;
    const existed = isImage
      ? found !== undefined
      : (await store.content.info(descriptor.digest, options)) !== undefined;
    if (!existed) {
      await leases.once(descriptor.digest, options, async () => {
        await using ingest = await store.content.ingest(descriptor, options);
        await fetchBlob(client, parseReference(reference), descriptor, ingest, options);
        await ingest.commit(options);
        fetched.inc({ source: 'registry' }, descriptor.size);
      });
    }
    if (isImage) {
      const bytes = found ?? (await readJustStored(store.content, descriptor, limits));
      this.#checkPlatform(parseImageConfig(bytes, of, reference));
    }
    this.#add(descriptor, 'config', existed);
  }

  async #layers(of: Manifest): Promise<void> {
    const { content } = this.#services.store;
    const infos = await Promise.all(
      of.layers.map(({ digest }) => content.info(digest, this.#options)),
    );
    for (const [at, layer] of of.layers.entries()) {
      this.#add(layer, 'layer', infos[at]?.size === layer.size);
    }
  }

  /** An image that is not in an index says its platform in its configuration. @throws PLATFORM_UNKNOWN */
  #checkPlatform({ os, architecture, variant }: ImageConfig): void {
    if (this.#wanted === undefined) return;
    const { reference, platform } = this.#record;
    const offered: Platform = { os, architecture, ...(variant ? { variant } : {}) };
    if (fallbacks(this.#wanted).some((wanted) => samePlatform(offered, wanted))) return;
    throw new DrayError(
      'PLATFORM_UNKNOWN',
      `${reference} is for ${formatPlatform(offered)}, not for ${platform}`,
      { hint: `To have it all the same: --platform ${formatPlatform(offered)}` },
    );
  }

  #add(descriptor: Descriptor, kind: PlannedBlob['kind'], existed: boolean): void {
    const { digest } = descriptor;
    if (!this.blobs.has(digest)) this.blobs.set(digest, { descriptor, kind, existed });
  }

  #invalid(what: string): DrayError {
    return new DrayError('MANIFEST_INVALID', `${this.#record.reference} ${what}`, {
      hint: 'The image is broken. Build and push it again.',
    });
  }
}
