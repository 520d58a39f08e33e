import type { Redis } from '../queue/connection.ts';
import { type Keys, keysOf } from '../queue/names.ts';
import type { GcReport } from './report.ts';

/** Seconds for which what was found is kept for who asked. */
const kept = 3600;
/** Items of a report that are kept: a person reads no more. */
const mostItems = 5_000;

/** Collections of garbage that somebody asked for, and what each part of the fleet says of its own. */
export class GcRequests {
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#keys = keysOf(prefix);
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

export const storePart = 'store';
export function nodePart(node: string): string {
  return `node ${node}`;
}
