import { DrayError } from '../errors.ts';
import type { Redis } from '../queue/connection.ts';
import { headOf } from './head.ts';
import { PullRecords } from './records.ts';
import { isFinished, type NodeCounts, type PullHead } from './status.ts';

/** A pull in a list: how much of it is done instead of what is with each blob and node. */
export interface PullSummary extends Omit<PullHead, 'blobs' | 'counts'> {
  /** `bytes` of `size` are in the store, or on their way into it. */
  blobs: { total: number; stored: number; bytes: number; size: number };
  nodes: NodeCounts & { total: number };
}

/** Summaries of ended pulls that are kept, since they change no more. */
const keepEnded = 5_000;

/** Lists pulls without reading what a thousand nodes say of each. */
export class PullSummaries {
  readonly #records: PullRecords;
  readonly #ended = new Map<string, PullSummary>();

  constructor(redis: Redis, prefix: string) {
    this.#records = new PullRecords(redis, prefix);
  }

  /** Newest first; with `before`, those older than that pull. @throws NOT_FOUND for a pull that is not listed */
  async list(options: { limit: number; before?: string }): Promise<PullSummary[]> {
    const ids = await this.#records.recent(options.limit, options.before);
    return await this.#all(ids);
  }

  /** The pulls that have not ended, newest first. */
  async open(limit: number): Promise<PullSummary[]> {
    // Ids sort by time.
    const ids = (await this.#records.open()).toSorted().reverse().slice(0, limit);
    return (await this.#all(ids)).filter(({ state }) => !isFinished(state));
  }

  /** How many pulls have not ended. */
  async countOpen(): Promise<number> {
    return (await this.#records.open()).length;
  }

  async #all(ids: readonly string[]): Promise<PullSummary[]> {
    const found = await Promise.all(
      ids.map((id) =>
        this.#get(id).catch((error: unknown) => {
          // Who asks for that one is told; the others are listed all the same.
          if (error instanceof DrayError && error.code === 'INTERNAL') return undefined;
          throw error;
        }),
      ),
    );
    return found.filter((summary) => summary !== undefined);
  }

  async #get(id: string): Promise<PullSummary | undefined> {
    const kept = this.#ended.get(id);
    if (kept !== undefined) return kept;
    const record = await this.#records.get(id);
    if (record === undefined) return undefined;
    const summary = summaryOf(await headOf(record, this.#records));
    if (isFinished(summary.state)) {
      this.#ended.set(id, summary);
      const [oldest] = this.#ended.keys();
      if (this.#ended.size > keepEnded && oldest !== undefined) this.#ended.delete(oldest);
    }
    return summary;
  }
}

function summaryOf({ blobs, counts, ...head }: PullHead): PullSummary {
  const sum = (of: (blob: PullHead['blobs'][number]) => number) =>
    blobs.reduce((total, blob) => total + of(blob), 0);
  return {
    ...head,
    blobs: {
      total: blobs.length,
      stored: sum(({ state }) => (state === 'stored' ? 1 : 0)),
      bytes: sum(({ bytes }) => bytes),
      size: sum(({ descriptor }) => descriptor.size),
    },
    nodes: { ...counts, total: Object.values(counts).reduce((total, count) => total + count, 0) },
  };
}
