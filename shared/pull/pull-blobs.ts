import { type Digest, isDigest } from '../image/digest.ts';
import type { Redis } from '../queue/connection.ts';
import type { Keys } from '../queue/names.ts';
import { runScript } from '../queue/script.ts';
import { highest, type Priority, priorities } from './priority.ts';
import type { PlannedBlob } from './record.ts';
import { arrivedScript, keepFinished, reopenScript } from './scripts.ts';

/**
 * The joins: which blobs a pull needs and still waits for, and which pulls wait for a blob. Every method can run twice
 * and at the same time as itself.
 */
export class PullBlobs {
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** What a pull needs, in the order of its plan. */
  async planned(id: string): Promise<PlannedBlob[]> {
    const values = await this.#redis.hvals(this.#keys.pullBlobs(id));
    return values
      .map((value) => JSON.parse(value) as PlannedBlob & { order: number })
      .sort((a, b) => a.order - b.order);
  }

  async get(id: string, digest: Digest): Promise<PlannedBlob | undefined> {
    const value = await this.#redis.hget(this.#keys.pullBlobs(id), digest);
    return value === null ? undefined : (JSON.parse(value) as PlannedBlob);
  }

  /** The digests that a pull still waits for. */
  async missing(id: string): Promise<Digest[]> {
    return (await this.#redis.smembers(this.#keys.pullMissing(id))).filter(isDigest);
  }

  /** The pulls that wait for a blob. */
  async waiting(digest: Digest): Promise<string[]> {
    return await this.#redis.smembers(this.#keys.blobPulls(digest));
  }

  /** Whether a pull waits for a blob. */
  async isWanted(digest: Digest): Promise<boolean> {
    return (await this.#redis.exists(this.#keys.blobPulls(digest))) === 1;
  }

  /** The first of the priorities of the pulls that wait for a blob. */
  async priorityOf(digest: Digest): Promise<Priority> {
    const pulls = await this.waiting(digest);
    const found = await Promise.all(
      pulls.map((id) => this.#redis.hget(this.#keys.pull(id), 'priority')),
    );
    return highest(priorities.filter((priority) => found.includes(priority)));
  }

  /**
   * A blob is in the store with that many bytes: the pull waits for it no more.
   * @returns `whole` when the pull's content is, and the image may get its name; `mismatch` when its manifest says
   * another size: nothing was changed
   */
  async arrived(id: string, digest: Digest, size: number): Promise<'waits' | 'whole' | 'mismatch'> {
    const keys = [...this.#keys.ofPull(id), this.#keys.blobPulls(digest)];
    switch (await runScript(this.#redis, arrivedScript, keys, [id, digest, size])) {
      case 1:
        return 'whole';
      case -1:
        return 'mismatch';
      default:
        return 'waits';
    }
  }

  /** Makes a planned blob wanted again: it vanished from the store. Of a pull that has ended nothing is wanted. */
  async reopen(id: string, digest: Digest): Promise<void> {
    const keys = [...this.#keys.ofPull(id), this.#keys.blobPulls(digest)];
    await runScript(this.#redis, reopenScript, keys, [id, digest]);
  }

  /** A pull that has ended waits for a blob no more. */
  async leave(id: string, digest: Digest): Promise<void> {
    await this.#redis.srem(this.#keys.blobPulls(digest), id);
  }

  /** A pull that has ended waits for nothing more. */
  async leaveAll(id: string): Promise<void> {
    await Promise.all((await this.missing(id)).map((digest) => this.leave(id, digest)));
  }

  /** Somebody found a blob of the store wrong who may not touch it: a worker looks at it before anybody relies on it again. */
  async doubt(digest: Digest): Promise<void> {
    await this.#redis.set(this.#keys.blobDoubted(digest), '1', 'EX', keepFinished);
  }

  async isDoubted(digest: Digest): Promise<boolean> {
    return (await this.#redis.exists(this.#keys.blobDoubted(digest))) === 1;
  }

  /** A worker has looked: what is in the store now is right. */
  async trust(digest: Digest): Promise<void> {
    await this.#redis.del(this.#keys.blobDoubted(digest));
  }
}
