import type { Redis } from '../queue/connection.ts';
import type { PullRecord } from './record.ts';
import { PullRecords } from './records.ts';
import { isFinished, type PullStatus } from './status.ts';

/** A pull in a list: how much of it is done instead of what is with each blob and node. */
export interface PullSummary extends Omit<PullStatus, 'blobs' | 'nodes'> {
  /** `bytes` of `size` are in the store, or on their way into it. */
  blobs: { total: number; stored: number; bytes: number; size: number };
  nodes: { total: number; unpacking: number; ready: number; failed: number };
}

/** Summaries of ended pulls that are kept, since they change no more. */
const keepEnded = 5_000;

/** KEYS: nodes of a pull. */
const countScript = `
local total, counts = 0, { unpacking = 0, ready = 0, failed = 0 }
for _, value in ipairs(redis.call('HVALS', KEYS[1])) do
  local state = cjson.decode(value).state
  total = total + 1
  if counts[state] then counts[state] = counts[state] + 1 end
end
return { total, counts.unpacking, counts.ready, counts.failed }
`;

/** Lists pulls without reading what a thousand nodes say of each. */
export class PullSummaries {
  readonly #redis: Redis;
  readonly #records: PullRecords;
  readonly #ended = new Map<string, PullSummary>();

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
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

  async #all(ids: readonly string[]): Promise<PullSummary[]> {
    const found = await Promise.all(ids.map((id) => this.#get(id)));
    return found.filter((summary) => summary !== undefined);
  }

  async #get(id: string): Promise<PullSummary | undefined> {
    const kept = this.#ended.get(id);
    if (kept !== undefined) return kept;
    const record = await this.#records.get(id);
    if (record === undefined) return undefined;
    const summary = await this.#summaryOf(record);
    if (isFinished(summary.state)) {
      this.#ended.set(id, summary);
      const [oldest] = this.#ended.keys();
      if (this.#ended.size > keepEnded && oldest !== undefined) this.#ended.delete(oldest);
    }
    return summary;
  }

  async #summaryOf(record: PullRecord): Promise<PullSummary> {
    const { id } = record;
    const [blobs, missing, counts] = await Promise.all([
      this.#records.blobs(id),
      this.#records.missing(id),
      this.#redis.eval(countScript, 1, this.#records.keys.pullNodes(id)) as Promise<number[]>,
    ]);
    const transfers = await this.#records.transfers(missing);
    const wanted = new Set(missing);
    let stored = 0;
    let bytes = 0;
    let size = 0;
    for (const { descriptor } of blobs) {
      const isStored = !wanted.has(descriptor.digest);
      size += descriptor.size;
      stored += isStored ? 1 : 0;
      bytes += isStored ? descriptor.size : (transfers.get(descriptor.digest) ?? 0);
    }
    const [total = 0, unpacking = 0, ready = 0, failed = 0] = counts;
    const {
      nodes: _,
      credential: _c,
      want: _w,
      policy: _p,
      planned: _pl,
      named: _n,
      ...rest
    } = record;
    return {
      ...rest,
      blobs: { total: blobs.length, stored, bytes, size },
      nodes: { total, unpacking, ready, failed },
    };
  }
}
