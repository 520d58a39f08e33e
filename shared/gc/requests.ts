import type { Redis } from '../queue/connection.ts';
import { type Keys, keysOf } from '../queue/names.ts';
import type { GcReport } from './report.ts';

/** Seconds for which a request, and what was found, is kept for who asked. */
const kept = 3600;
/** Requests that are listed at most. */
const mostListed = 1_000;
/** Items of a report that are kept: a person reads no more. */
const mostItems = 5_000;

/** A collection of garbage that somebody asked for. */
export interface GcRequest {
  id: string;
  /** Nothing goes: it is only said what would. */
  dryRun: boolean;
  /** Milliseconds for which what nobody needs stays; default: what each part's configuration says. */
  graceMs?: number;
  /** Whether the content store is asked, and which nodes are. */
  store: boolean;
  nodes: string[];
  /** Nodes that are lost, and so were not asked. */
  lost: string[];
  createdAt: Date;
}

/** Collections of garbage that somebody asked for, and what each part of the fleet says of its own. */
export class GcRequests {
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#keys = keysOf(prefix);
  }

  /** Keeps a request, unless it is there: to be called before it is enqueued. */
  async keep({ id, ...request }: GcRequest): Promise<void> {
    const { gcRequest, gcRequests } = this.#keys;
    await this.#redis
      .multi()
      .set(gcRequest(id), JSON.stringify(request), 'EX', kept, 'NX')
      .zadd(gcRequests, 0, id)
      .zremrangebyrank(gcRequests, 0, -mostListed - 1)
      .expire(gcRequests, kept)
      .exec();
  }

  async get(id: string): Promise<GcRequest | undefined> {
    const text = await this.#redis.get(this.#keys.gcRequest(id));
    return text === null ? undefined : decode(id, text);
  }

  /** The newest first; with `before`, those that are older than that one. */
  async list({ limit, before }: { limit: number; before?: string }): Promise<GcRequest[]> {
    const { gcRequest, gcRequests } = this.#keys;
    const from = before === undefined ? '+' : `(${before}`;
    // Ids sort by time.
    const ids = await this.#redis.zrevrangebylex(gcRequests, from, '-', 'LIMIT', 0, limit);
    if (ids.length === 0) return [];
    const texts = await this.#redis.mget(...ids.map(gcRequest));
    return ids.flatMap((id, i) => (texts[i] ? [decode(id, texts[i])] : []));
  }

  /** Which parts have answered. */
  async answeredParts(id: string): Promise<string[]> {
    return await this.#redis.hkeys(this.#keys.gcReport(id));
  }

  /** @param part `store`, or `node NAME` */
  async answer(id: string, part: string, report: GcReport): Promise<void> {
    const { items, kept: stays, problems } = report;
    const left = items.slice(mostItems);
    const short: GcReport = {
      items: items.slice(0, mostItems),
      kept: stays,
      problems: problems.slice(0, 100),
      ...(left.length === 0
        ? {}
        : { more: { count: left.length, bytes: left.reduce((sum, { bytes }) => sum + bytes, 0) } }),
    };
    const key = this.#keys.gcReport(id);
    await this.#redis.multi().hset(key, part, JSON.stringify(short)).expire(key, kept).exec();
  }

  async answered(id: string, part: string): Promise<boolean> {
    return (await this.#redis.hexists(this.#keys.gcReport(id), part)) === 1;
  }

  /** What has been said so far, by part. */
  async answers(id: string): Promise<Map<string, GcReport>> {
    const values = await this.#redis.hgetall(this.#keys.gcReport(id));
    return new Map(
      Object.entries(values).map(([part, text]) => [part, JSON.parse(text) as GcReport]),
    );
  }
}

/** Who is asked, in the words of {@link GcRequests.answers}. */
export function partsOf({ store, nodes }: Pick<GcRequest, 'store' | 'nodes'>): string[] {
  return [...(store ? [storePart] : []), ...nodes.map(nodePart)];
}

export const storePart = 'store';
export function nodePart(node: string): string {
  return `node ${node}`;
}

function decode(id: string, text: string): GcRequest {
  const { createdAt, ...request } = JSON.parse(text) as Omit<GcRequest, 'id' | 'createdAt'> & {
    createdAt: string;
  };
  return { id, ...request, createdAt: new Date(createdAt) };
}
