import type { Redis } from 'ioredis';
import type { Digest } from '../image/digest.ts';
import { type PlannedBlob, type PullRecord, PullRecords } from './records.ts';
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
      state: record.state,
      createdAt: record.createdAt,
      blobs: blobs.map((blob) => blobStatus(record, blob, missing, transfers)),
      nodes: [...nodes].map(([name, node]) => ({ name, ...node })),
      ...(record.finishedAt === undefined ? {} : { finishedAt: record.finishedAt }),
      ...(record.target === undefined ? {} : { target: record.target }),
      ...(record.manifest === undefined ? {} : { manifest: record.manifest }),
      ...(record.error === undefined ? {} : { error: record.error }),
      ...(record.note === undefined ? {} : { note: record.note }),
    };
  }

  /** Newest first. */
  async list(options: { limit?: number } = {}): Promise<PullStatus[]> {
    const ids = await this.#records.recent(options.limit ?? 50);
    const found = await Promise.all(ids.map((id) => this.get(id)));
    return found.filter((status) => status !== undefined);
  }

  /**
   * A pull as it stands, at once, then after each change and while bytes move, about ten times a second
   * at most. Ends after a finished state, when the pull is gone, or when `signal` aborts.
   */
  async *watch(id: string, options: { signal?: AbortSignal } = {}): AsyncIterable<PullStatus> {
    const { signal } = options;
    const connection = this.#redis.duplicate();
    connection.on('error', () => {});
    const stop = () => connection.disconnect();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      const stream = this.#records.keys.pullEvents(id);
      let last = '0';
      while (!(signal?.aborted ?? false)) {
        const status = await this.get(id);
        if (status === undefined) return;
        yield status;
        if (isFinished(status.state)) return;
        const moving = status.blobs.some((blob) => blob.state === 'fetching');
        const block = moving ? transferInterval : eventInterval;
        const events = await connection
          .xread('COUNT', 1_000, 'BLOCK', block, 'STREAMS', stream, last)
          .catch((error: unknown) => {
            if (signal?.aborted ?? false) return null;
            throw error;
          });
        last = events?.[0]?.[1].at(-1)?.[0] ?? last;
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
