import type { Redis } from '../queue/connection.ts';
import { followPull, type PullView } from './follow.ts';
import { headOf } from './head.ts';
import { PullRecords } from './records.ts';
import type { PullStatus } from './status.ts';

/** Pulls as people and services see them. */
export class Pulls {
  readonly #redis: Redis;
  readonly #records: PullRecords;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#records = new PullRecords(redis, prefix);
  }

  /** A pull as it stands, or undefined when there is no such pull (any more). */
  async get(id: string): Promise<PullStatus | undefined> {
    const record = await this.#records.get(id);
    if (record === undefined) return undefined;
    const [head, nodes] = await Promise.all([
      headOf(record, this.#records),
      this.#records.nodes.all(record),
    ]);
    return { ...head, nodes };
  }

  /** As {@link follow}, without what is new. */
  async *watch(id: string, options: { signal?: AbortSignal } = {}): AsyncIterable<PullStatus> {
    for await (const { status } of this.follow(id, options)) yield status;
  }

  /** See {@link followPull}. */
  follow(
    id: string,
    options: { signal?: AbortSignal; after?: string } = {},
  ): AsyncIterable<PullView> {
    return followPull({ redis: this.#redis, records: this.#records }, id, options);
  }
}
