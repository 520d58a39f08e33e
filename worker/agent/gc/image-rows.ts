import {
  type ChainID,
  type Digest,
  parseChainID,
  parseDigest,
} from '../../../shared/image/digest.ts';
import type { ImageSource } from '../containers/image.ts';
import type { NodeDatabase } from '../node-database.ts';

/** The history of the table; only ever grows at its end. */
const steps = [
  `CREATE TABLE node_images (
     manifest TEXT NOT NULL,
     name TEXT NOT NULL,
     chain_id TEXT,
     used_at INTEGER NOT NULL,
     PRIMARY KEY (manifest, name)
   ) STRICT`,
];

/** An image that was brought to this node, under all its names. */
export interface NodeImage {
  manifest: Digest;
  names: string[];
  /** Undefined for an image without layers. */
  chainID: ChainID | undefined;
  /** When it was last unpacked, or a container was made of it. */
  usedAt: Date;
}

/** Which images the node was to hold, and when they were used: what its snapshots are kept for. */
export class ImageRows {
  readonly #database: NodeDatabase;

  constructor(database: NodeDatabase) {
    database.migrate('images', steps);
    this.#database = database;
  }

  /** An image is used now: recorded before its snapshots are made, so that they belong to something. */
  used(image: { manifest: Digest; name: string; chainID: ChainID | undefined }): void {
    this.#database.run(
      `INSERT INTO node_images (manifest, name, chain_id, used_at) VALUES (?, ?, ?, ?)
       ON CONFLICT (manifest, name) DO UPDATE SET used_at = excluded.used_at`,
      image.manifest,
      image.name,
      image.chainID ?? null,
      Date.now(),
    );
  }

  /** As {@link used}, by something that is written later: after a power cut neither has happened. */
  noteUse(image: Parameters<ImageRows['used']>[0]): void {
    this.#database.note(() => this.used(image));
  }

  /** Those used longest ago first. */
  list(): NodeImage[] {
    const images = new Map<string, NodeImage>();
    for (const row of this.#database.all('SELECT * FROM node_images ORDER BY used_at, name')) {
      const { manifest, name, chain_id, used_at } = row;
      const usedAt = new Date(Number(used_at));
      const known = images.get(String(manifest));
      // Its latest use decides its place.
      images.delete(String(manifest));
      images.set(String(manifest), {
        manifest: parseDigest(String(manifest)),
        names: [...(known?.names ?? []), String(name)],
        chainID: typeof chain_id === 'string' ? parseChainID(chain_id) : undefined,
        usedAt,
      });
    }
    return [...images.values()];
  }

  /** Forgets an image, unless it was used after `usedAt`. @returns whether it did */
  remove(manifest: Digest, usedAt: Date): boolean {
    return this.#database.transaction(() => {
      const later = this.#database.get(
        'SELECT 1 FROM node_images WHERE manifest = ? AND used_at > ?',
        manifest,
        usedAt.getTime(),
      );
      if (later !== undefined) return false;
      this.#database.run('DELETE FROM node_images WHERE manifest = ?', manifest);
      return true;
    });
  }
}

/** Images as they are, whose use is recorded: whoever looks one up makes a container or a snapshot of it. */
export function usedImages(images: ImageSource, rows: Pick<ImageRows, 'noteUse'>): ImageSource {
  return {
    find: async (nameOrDigest, options) => {
      const image = await images.find(nameOrDigest, options);
      rows.noteUse(image);
      return image;
    },
  };
}
