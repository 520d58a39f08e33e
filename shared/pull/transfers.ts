import type { Digest } from '../image/digest.ts';
import type { Redis } from '../queue/connection.ts';
import type { Keys } from '../queue/names.ts';
import { executed } from '../queue/script.ts';

/** Milliseconds for which a word of a worker counts that it is at a transfer. */
export const attendedFor = 5_000;

/** A blob on its way into the store. */
export interface Transfer {
  bytes: number;
  /** A worker that lives is at it. */
  isAttended: boolean;
}

/** How far blobs are on their way into the store, and whether somebody is at it, as workers say it in Redis. */
export class Transfers {
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** How far a transfer is. Whoever follows reads it when they look; it wakes nobody. */
  async moved(digest: Digest, bytes: number): Promise<void> {
    const key = this.#keys.blob(digest);
    await this.#redis
      .pipeline()
      .hset(key, { bytes, at: Date.now() })
      .expire(key, 3600)
      .set(this.#keys.blobAttended(digest), '1', 'PX', attendedFor)
      .publish(this.#keys.advanced, digest)
      .exec();
  }

  /**
   * A worker is at a transfer, though no bytes may come; or it is in the queue to be tried again.
   * @param ms for which that counts; the default must be said again before
   */
  async attend(digest: Digest, ms = attendedFor): Promise<void> {
    await this.#redis.set(this.#keys.blobAttended(digest), '1', 'PX', ms);
  }

  /** Each transfer that was seen within the last hour. */
  async all(digests: Digest[]): Promise<Map<Digest, Transfer>> {
    if (digests.length === 0) return new Map();
    const pipeline = this.#redis.pipeline();
    for (const digest of digests) {
      pipeline.hget(this.#keys.blob(digest), 'bytes').exists(this.#keys.blobAttended(digest));
    }
    const results = await executed(pipeline.exec());
    const transfers = new Map<Digest, Transfer>();
    digests.forEach((digest, i) => {
      const bytes = results[2 * i]?.[1];
      const isAttended = results[2 * i + 1]?.[1] === 1;
      if (typeof bytes === 'string') transfers.set(digest, { bytes: Number(bytes), isAttended });
    });
    return transfers;
  }

  /** Nothing moves any more: the blob is stored, or its transfer has ended without that. */
  async ended(digest: Digest): Promise<void> {
    await this.#redis
      .pipeline()
      .del(this.#keys.blob(digest), this.#keys.blobAttended(digest))
      .publish(this.#keys.advanced, digest)
      .exec();
  }
}
