import type { Digest } from '../image/digest.ts';
import { duplicate, type Redis } from '../queue/connection.ts';
import type { PlannedBlob, PullRecord } from './record.ts';
import { PullRecords } from './records.ts';
import { type BlobState, type BlobStatus, isFinished, type PullStatus } from './status.ts';

/** How often a follower looks at the bytes of running transfers, in milliseconds. */
const transferInterval = 100;
/** How long a follower waits for an event at most, in milliseconds. */
const eventInterval = 1_000;

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
    const [blobs, missing, nodes] = await Promise.all([
      this.#records.blobs(id),
      this.#records.missing(id),
      this.#records.nodes(id),
    ]);
    const transfers = await this.#records.transfers(missing);
    return {
      id,
      reference: record.reference,
      platform: record.platform,
      priority: record.priority,
      state: record.state,
      createdAt: record.createdAt,
      blobs: blobs.map((blob) => blobStatus(record, blob, missing, transfers)),
      nodes: [...nodes].map(([name, node]) => ({ name, ...node })),
      ...(record.finishedAt === undefined ? {} : { finishedAt: record.finishedAt }),
      ...(record.target === undefined ? {} : { target: record.target }),
      ...(record.askedAt === undefined ? {} : { askedAt: record.askedAt }),
      ...(record.manifest === undefined ? {} : { manifest: record.manifest }),
      ...(record.error === undefined ? {} : { error: record.error }),
      ...(record.note === undefined ? {} : { note: record.note }),
    };
  }

  /** Newest first; with `before`, those older than that pull. @throws NOT_FOUND for a pull that is not listed */
  async list(options: { limit?: number; before?: string } = {}): Promise<PullStatus[]> {
    const ids = await this.#records.recent(options.limit ?? 50, options.before);
    const found = await Promise.all(ids.map((id) => this.get(id)));
    return found.filter((status) => status !== undefined);
  }

  /**
   * A pull as it stands, at once, then after each change and while bytes move, about ten times a second
   * at most. Ends after a finished state, when the pull is gone, or when `signal` aborts.
   */
  async *watch(id: string, options: { signal?: AbortSignal } = {}): AsyncIterable<PullStatus> {
    for await (const { status } of this.follow(id, options)) yield status;
  }

  /**
   * As {@link watch}, with the id of the latest change that the status has in it. With `after`, an id that was
   * got before, the first status comes when there is something newer: whoever comes back misses nothing.
   */
  async *follow(
    id: string,
    options: { signal?: AbortSignal; after?: string } = {},
  ): AsyncIterable<{ change: string; status: PullStatus }> {
    const { signal, after } = options;
    const connection = duplicate(this.#redis);
    const stop = () => connection.disconnect();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      const stream = this.#records.keys.pullEvents(id);
      let isKnown = after !== undefined;
      let change = after ?? '0-0';
      while (!(signal?.aborted ?? false)) {
        // Read before the status, which then has at least this change in it.
        const latest = (await this.#redis.xrevrange(stream, '+', '-', 'COUNT', 1))[0]?.[0];
        if (latest !== undefined && latest !== change) {
          change = latest;
          isKnown = false;
        }
        const status = await this.get(id);
        if (status === undefined) return;
        const moving = status.blobs.some((blob) => blob.state === 'fetching');
        const finished = isFinished(status.state);
        if (!isKnown || moving || finished) yield { change, status };
        if (finished) return;
        isKnown = true;
        await connection
          .xread(
            'COUNT',
            1,
            'BLOCK',
            moving ? transferInterval : eventInterval,
            'STREAMS',
            stream,
            change,
          )
          .catch((error: unknown) => {
            if (!(signal?.aborted ?? false)) throw error;
          });
      }
    } finally {
      signal?.removeEventListener('abort', stop);
      connection.disconnect();
    }
  }
}

function blobStatus(
  record: PullRecord,
  blob: PlannedBlob,
  missing: Digest[],
  transfers: Map<Digest, number>,
): BlobStatus {
  const { descriptor, kind, existed } = blob;
  const { error } = record;
  const isMissing = missing.includes(descriptor.digest);
  const failed = error?.context?.digest === descriptor.digest;
  const moved = transfers.get(descriptor.digest);
  let state: BlobState = 'stored';
  if (failed) state = 'failed';
  else if (isMissing) state = moved === undefined ? 'waiting' : 'fetching';
  return {
    descriptor,
    kind,
    state,
    bytes: isMissing ? (moved ?? 0) : descriptor.size,
    existed,
    ...(failed && error !== undefined ? { error } : {}),
  };
}
