import { putBytes } from '../../shared/content/blob.ts';
import type { ContentInfo } from '../../shared/content/store.ts';
import { readJustStored, readStored } from '../../shared/content/stored.ts';
import { DrayError, decodeError, encodeError } from '../../shared/errors.ts';
import {
  type ImageConfig,
  isImageConfigType,
  maxConfigBytes,
  parseImageConfig,
} from '../../shared/image/config.ts';
import type { Descriptor } from '../../shared/image/descriptor.ts';
import type { Digest } from '../../shared/image/digest.ts';
import {
  type Index,
  imageManifests,
  type Manifest,
  maxManifestBytes,
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
  platformNames,
  samePlatform,
} from '../../shared/image/platform.ts';
import { parseReference } from '../../shared/image/reference.ts';
import type { PlannedBlob, PullRecord } from '../../shared/pull/record.ts';
import type { PlatformImage } from '../../shared/pull/status.ts';
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

/** What an image needs, and what nodes unpack: nothing where an index has none for this platform. */
export interface ImagePlan {
  images: PlatformImage[];
  blobs: PlannedBlob[];
}

/**
 * Follows a pinned descriptor to its manifests, brings index, manifests and configs into the store, and says which
 * layers the image has: of one platform, of some, or of all. Where it has none for the platform of some nodes, it is
 * said why; the others go on.
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
    return { images: [], blobs: [await plan.only(pinned.target, pinned.existed)] };
  }
  const isAll = record.platform === allPlatforms;
  if (isAll) await plan.follow(pinned.target, pinned.existed, [], undefined);
  const platforms = isAll
    ? await services.records.nodes.allPlatforms(record.id)
    : platformNames(record.platform);
  const hasNodes = record.nodes.total > 0;
  // All go into the store; the name stands for the one that this machine could run, where there is one.
  if (isAll && !hasNodes) platforms.push(formatPlatform(hostPlatform()));
  const images: PlatformImage[] = [];
  for (const platform of platforms) images.push(await plan.imageOf(platform, pinned));
  const found = images.filter(({ manifest }) => manifest !== undefined);
  const { error } = images.find((image) => image.error !== undefined) ?? {};
  // A set's nodes come later.
  const isOfNodes = hasNodes || record.desired !== undefined;
  const canGoOn = isOfNodes ? found.length > 0 : isAll || error === undefined;
  if (error !== undefined && !canGoOn) throw decodeError(error);
  return { images: hasNodes ? images : found, blobs: [...plan.blobs.values()] };
}

class Planner {
  /** What stands in an image twice is fetched once. */
  readonly blobs = new Map<Digest, PlannedBlob>();
  /** By manifest. */
  readonly #layers = new Map<Digest, Digest[]>();
  readonly #record: PullRecord;
  readonly #services: FleetServices;
  readonly #options: CallOptions;

  constructor(record: PullRecord, services: FleetServices, options: CallOptions) {
    this.#record = record;
    this.#services = services;
    this.#options = options;
  }

  /** The index or manifest alone. */
  async only(descriptor: Descriptor, existed: boolean): Promise<PlannedBlob> {
    const { bytes } = await this.#stored(descriptor);
    const parsed = parseIndexOrManifest(bytes, descriptor.mediaType, this.#record.reference);
    return { descriptor, kind: 'index' in parsed ? 'index' : 'manifest', existed };
  }

  /** What nodes of a platform unpack; or why they can't. */
  async imageOf(
    platform: string,
    { target, existed }: { target: Descriptor; existed: boolean },
  ): Promise<PlatformImage> {
    try {
      const manifest = await this.follow(target, existed, [], parsePlatform(platform));
      if (manifest === undefined) return { platform, layers: [] };
      return { platform, manifest, layers: this.#layers.get(manifest.digest) ?? [] };
    } catch (error) {
      if (!(error instanceof DrayError) || error.code !== 'PLATFORM_UNKNOWN') throw error;
      return { platform, layers: [], error: encodeError(error) };
    }
  }

  /**
   * @param wanted undefined: all platforms
   * @returns the manifest of the one that is wanted
   */
  async follow(
    descriptor: Descriptor,
    existed: boolean | undefined,
    above: readonly Digest[],
    wanted: Platform | undefined,
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
    if ('index' in parsed) {
      return await this.#choose(parsed.index, [...above, descriptor.digest], wanted);
    }
    const { layers } = parsed.manifest;
    const [infos] = await Promise.all([
      want === 'image' ? this.#infosOf(layers) : [],
      this.#config(parsed.manifest, wanted),
    ]);
    this.#layers.set(
      descriptor.digest,
      layers.map(({ digest }) => digest),
    );
    for (const [at, info] of infos.entries()) {
      const layer = layers[at];
      if (layer !== undefined) this.#add(layer, 'layer', info?.size === layer.size);
    }
    return descriptor;
  }

  async #choose(
    index: Index,
    above: readonly Digest[],
    wanted: Platform | undefined,
  ): Promise<Descriptor | undefined> {
    if (wanted !== undefined) {
      const chosen = selectPlatform(index, wanted, this.#record.reference);
      return await this.follow(chosen, undefined, above, wanted);
    }
    const manifests = imageManifests(index);
    // Before the first of them is asked for.
    if (this.blobs.size + manifests.length > maxManifests) {
      throw this.#invalid(`has more than ${maxManifests} manifests and blobs`);
    }
    for (const each of manifests) {
      if (!this.blobs.has(each.digest)) await this.follow(each, undefined, above, undefined);
    }
    return undefined;
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
  async #config(of: Manifest, wanted: Platform | undefined): Promise<void> {
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
      const config = parseImageConfig(bytes, of, reference);
      if (wanted !== undefined) this.#checkPlatform(config, wanted);
    }
    this.#add(descriptor, 'config', existed);
  }

  async #infosOf(layers: readonly Descriptor[]): Promise<(ContentInfo | undefined)[]> {
    const { content } = this.#services.store;
    return await Promise.all(layers.map(({ digest }) => content.info(digest, this.#options)));
  }

  /** An image that is not in an index says its platform in its configuration. @throws PLATFORM_UNKNOWN */
  #checkPlatform({ os, architecture, variant }: ImageConfig, wanted: Platform): void {
    const { reference } = this.#record;
    const offered: Platform = { os, architecture, ...(variant ? { variant } : {}) };
    if (fallbacks(wanted).some((each) => samePlatform(offered, each))) return;
    throw new DrayError(
      'PLATFORM_UNKNOWN',
      `${reference} is for ${formatPlatform(offered)}, not for ${formatPlatform(wanted)}`,
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
