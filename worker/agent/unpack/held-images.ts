import type { ChainID, Digest } from '../../../shared/image/digest.ts';
import type { Redis } from '../../../shared/queue/connection.ts';
import type { Keys } from '../../../shared/queue/names.ts';
import type { NodeDatabase } from '../node-database.ts';

/** An image that was brought to the node whole. */
export interface HeldImage {
  /** The digest of its manifest. */
  manifest: Digest;
  /** The snapshot of its file system; undefined for one without layers. */
  chainID: ChainID | undefined;
}

/** What the node remembers of the images that were brought to it. */
export interface HeldRecords {
  list(): HeldImage[];
  put(image: HeldImage): void;
  remove(manifest: Digest): void;
}

/** In the node's own database: it outlives the agent, and Redis. */
export function heldRecords(database: NodeDatabase): HeldRecords {
  database.migrate('held images', [
    'CREATE TABLE held_images (manifest TEXT PRIMARY KEY, chain_id TEXT) STRICT, WITHOUT ROWID',
  ]);
  return {
    list: () =>
      database.all('SELECT manifest, chain_id FROM held_images').map((row) => ({
        manifest: row.manifest as Digest,
        chainID: (row.chain_id ?? undefined) as ChainID | undefined,
      })),
    put: ({ manifest, chainID }) => {
      database.run(
        'INSERT INTO held_images (manifest, chain_id) VALUES (?, ?) ON CONFLICT (manifest) DO UPDATE SET chain_id = excluded.chain_id',
        manifest,
        chainID ?? null,
      );
    },
    remove: (manifest) => {
      database.run('DELETE FROM held_images WHERE manifest = ?', manifest);
    },
  };
}

export interface HeldServices {
  redis: Redis;
  keys: Keys;
  node: string;
  records: HeldRecords;
  snapshots: { committed: (chainID: ChainID) => unknown };
  /** Called when an image was added. */
  onAdded?: () => void;
}

/**
 * The images that the node holds, ready to run, as the fleet knows them: an image whose snapshot is gone is held no
 * more. What is told is a copy; the node's own records and snapshots say what is true.
 */
export class HeldImages {
  readonly #services: HeldServices;
  #told: Set<Digest> | undefined;

  constructor(services: HeldServices) {
    this.#services = services;
  }

  /** How many there are. */
  get count(): number {
    return this.#held().length;
  }

  /** An image has been brought to the node whole. Its fleet hears of it before this resolves. */
  async add(image: HeldImage): Promise<void> {
    this.#services.records.put(image);
    await this.#tell([image.manifest], []);
    this.#told?.add(image.manifest);
    this.#services.onAdded?.();
  }

  /** Tells the fleet what has changed since it was told last: cheap when nothing has. */
  async refresh(): Promise<void> {
    const held = new Set(this.#held());
    const told = this.#told ?? new Set(await this.#known());
    const added = [...held].filter((manifest) => !told.has(manifest));
    const removed = [...told].filter((manifest) => !held.has(manifest));
    if (added.length > 0 || removed.length > 0) await this.#tell(added, removed);
    this.#told = held;
  }

  /** The fleet has forgotten the node: it is told everything anew by the next {@link refresh}. */
  forgotten(): void {
    this.#told = undefined;
  }

  #held(): Digest[] {
    const { records, snapshots } = this.#services;
    const held: Digest[] = [];
    for (const { manifest, chainID } of records.list()) {
      if (chainID === undefined || snapshots.committed(chainID) !== undefined) held.push(manifest);
      else records.remove(manifest);
    }
    return held;
  }

  async #known(): Promise<Digest[]> {
    const { redis, keys, node } = this.#services;
    return (await redis.smembers(keys.nodeImages(node))) as Digest[];
  }

  async #tell(added: readonly Digest[], removed: readonly Digest[]): Promise<void> {
    const { redis, keys, node } = this.#services;
    const pipeline = redis.pipeline();
    for (const manifest of added) {
      pipeline.sadd(keys.nodeImages(node), manifest).sadd(keys.imageNodes(manifest), node);
    }
    for (const manifest of removed) {
      pipeline.srem(keys.nodeImages(node), manifest).srem(keys.imageNodes(manifest), node);
    }
    for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
  }
}
